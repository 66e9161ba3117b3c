/**
 * Twenty resources on three machines, whose tunnels break at any moment of an `up` or a `destroy`: the error names the machine,
 * and the next run converges. `npm run test:long` does it 200 times each.
 */
import { testLives } from "./lives";

testLives("faults: tunnels", ["reset", "cut"]);
