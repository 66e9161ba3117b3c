/** The same, where those who work on the machines are killed: the provider, the engine. */
import { testLives } from "./lives";

testLives("faults: provider and engine, over SSH", ["provider", "engine"]);
