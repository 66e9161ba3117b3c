/** `user`: who the process is, by Docker's rules over the image's `/etc/passwd` and `/etc/group`. */
import { ContainerdError } from "../errors";
import { type ImageConfig, type ImageUsers, type SpecOption, withProcess } from "./context";
import type { ContainerInputs } from "./inputs";
import type { User } from "./types";

/** The largest uid and gid that is not the kernel's "none". */
const MAX_ID = 4294967294;

/** `user`, as the program or else the image says it. */
function userText(inputs: ContainerInputs, image: ImageConfig): string {
    return inputs.user ?? image.config?.User ?? "";
}

/**
 * Whether the image's `/etc/passwd` and `/etc/group` must be read to make the spec. Not for root and not for `uid:gid`.
 *
 * For root this is a difference from Docker, which also gives root the groups that list it (on Alpine a dozen): they add
 * nothing to what root may do, and reading them costs a round through the snapshot for every container.
 */
export function needsUsers(inputs: ContainerInputs, image: ImageConfig): boolean {
    const text = userText(inputs, image);
    return !/^(root|0)?(:(root|0))?$/.test(text) && !/^\d+:\d+$/.test(text);
}

/** `user`, resolved. The primary group is among the additional ones too (CVE-2022-36109), as Docker has it. */
export const withUser: SpecOption = (spec, { inputs, image, users }) => {
    const text = userText(inputs, image);
    if (needsUsers(inputs, image) && users === undefined) {
        const reason = `cannot resolve ${JSON.stringify(text)}: the image's /etc/passwd and /etc/group were not read`;
        throw new ContainerdError("Failed", reason, { property: "user" });
    }
    return withProcess(spec, { user: resolveUser(text, needsUsers(inputs, image) ? users : undefined) });
};

/**
 * Resolves `user`, `user:group`, by name or number. A number need not be in the files; without a group its primary group is
 * that of the passwd entry, else 0. Additional groups are those that list the user, unless a group was given.
 * Throws `Invalid` on `user` for a name that is not in the files.
 */
export function resolveUser(text: string, users: ImageUsers = { passwd: "root:x:0:0", group: "root:x:0:" }): User {
    const [userPart = "", groupPart, ...rest] = text.split(":");
    if (rest.length > 0) throw invalid(text, "has more than one colon: write user or user:group");
    const wanted = userPart === "" ? "0" : userPart;

    const entry = rows(users.passwd).find(([name, , uid]) => name === wanted || uid === wanted);
    const uid = entry ? Number(entry[2]) : number(wanted);
    if (uid === undefined)
        throw invalid(text, `names the user ${JSON.stringify(wanted)}, whom the image's /etc/passwd does not have`);

    const groups = rows(users.group);
    if (groupPart) {
        const group = groups.find(([name, , gid]) => name === groupPart || gid === groupPart);
        const gid = group ? Number(group[2]) : number(groupPart);
        if (gid === undefined) {
            throw invalid(
                text,
                `names the group ${JSON.stringify(groupPart)}, which the image's /etc/group does not have`,
            );
        }
        return { uid, gid, additionalGids: [gid] };
    }
    const gid = entry ? Number(entry[3]) : 0;
    const listed = groups.filter(
        ([, , , members]) => entry !== undefined && members?.split(",").includes(entry[0] ?? ""),
    );
    return { uid, gid, additionalGids: [...new Set([gid, ...listed.map(([, , id]) => Number(id))])] };
}

/** The lines of a colon-separated file that have a numeric id in their third field. */
function rows(text: string): string[][] {
    return text
        .split("\n")
        .map((line) => line.trim().split(":"))
        .filter((fields) => number(fields[2] ?? "") !== undefined);
}

function number(text: string): number | undefined {
    return /^\d+$/.test(text) && Number(text) <= MAX_ID ? Number(text) : undefined;
}

function invalid(text: string, reason: string): ContainerdError {
    return new ContainerdError("Invalid", `${JSON.stringify(text)} ${reason}`, { property: "user" });
}
