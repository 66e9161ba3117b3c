/** The files of the conference: those of `config/` with their `{{names}}` filled in, and those of `page/` as they are. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import * as pulumi from "@pulumi/pulumi";

/** A file of this folder as text. */
export function text(file: string): string {
    return readFileSync(path.join(__dirname, file), "utf8");
}

/** A file of this folder with its `{{names}}` filled in. Throws for a name that has no value. */
export function render(file: string, values: Record<string, pulumi.Input<string | number>>): pulumi.Output<string> {
    return pulumi.all(values).apply((known) =>
        text(file).replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
            const value = known[name];
            if (value === undefined) throw new Error(`${file} names ${name}, which has no value`);
            return String(value);
        }),
    );
}

/** All files of a folder of this one, by their paths in a container. */
export function folder(name: string, target: string): Record<string, string> {
    const files = readdirSync(path.join(__dirname, name)).sort();
    return Object.fromEntries(files.map((file) => [path.posix.join(target, file), text(path.join(name, file))]));
}
