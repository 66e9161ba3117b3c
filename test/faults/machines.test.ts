/** The same, where the machine itself fails: its power, its containerd. */
import { testLives } from "./lives";

testLives("faults: machines", ["power", "containerd"]);
