/**
 * Generation of what we generate: the spec's defaults, the logger's script, the layout of a container's folder. It stands in
 * the inputs of every Container; a release that generates something else counts it up, so that the change reaches running
 * containers as an update that a preview shows, and never in silence.
 */
export const REVISION = 2;
