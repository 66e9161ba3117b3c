/** Work with the same key takes turns; a failure does not hold up who comes next. */
import assert from "node:assert/strict";
import { inTurn } from "../../provider/images/turns";

describe("images: turns", () => {
    it("one after the other by key, at the same time otherwise", async () => {
        const owner = { connection: {}, namespace: "default" };
        const order: string[] = [];
        let release = (): void => undefined;
        const gate = new Promise<void>((resolve) => (release = resolve));
        const first = inTurn(owner, "a", async () => {
            await gate;
            order.push("a1");
        });
        const second = inTurn(owner, "a", async () => void order.push("a2"));
        await inTurn(owner, "b", async () => void order.push("b"));
        await inTurn({ ...owner, namespace: "other" }, "a", async () => void order.push("other"));
        release();
        await Promise.all([first, second]);
        assert.deepEqual(order, ["b", "other", "a1", "a2"]);
    });

    it("goes on after a failure", async () => {
        const owner = { connection: {}, namespace: "default" };
        const failed = inTurn(owner, "a", async () => Promise.reject(new Error("no")));
        const next = inTurn(owner, "a", async () => 2);
        await assert.rejects(failed, /no/);
        assert.equal(await next, 2);
    });
});
