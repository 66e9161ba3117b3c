/** Templates for files. */
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";

/** `{{NAME}}`, with spaces inside the braces if one likes. */
const PLACE = /\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}/g;

/**
 * The text of a file of the program with each `{{NAME}}` replaced. Words of `self` may be among the values: they are filled in
 * where the container is made.
 *
 * Throws when the file is not there, a name in it has no value, or a value has no place: a slip in a name would pass in silence
 * otherwise.
 *
 * @param file path, relative to the folder in which Pulumi runs the program
 *
 * @example
 * files: { "/etc/kamailio/kamailio.cfg": containerd.render("kamailio.cfg", { LISTEN: containerd.self.address }) }
 */
export function render(file: string, vars: Record<string, pulumi.Input<string | number>>): pulumi.Output<string> {
    const text = readFileSync(file, "utf8");
    const named = new Set([...text.matchAll(PLACE)].map(([, name]) => name ?? ""));
    const missing = [...named].filter((name) => !Object.hasOwn(vars, name));
    const unused = Object.keys(vars).filter((name) => !named.has(name));
    if (missing.length) throw new pulumi.RunError(`${file}: no value is given for {{${missing.join("}}, {{")}}}`);
    if (unused.length) throw new pulumi.RunError(`${file}: there is no {{${unused.join("}}, {{")}}} in it`);
    return pulumi.output(vars).apply((values) => text.replace(PLACE, (_, name: string) => String(values[name])));
}
