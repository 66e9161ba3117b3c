/**
 * The script that puts new contents into files on a node without making new files of them, so that a bind mount of one shows the
 * new content to a process that runs already. POSIX sh and coreutils.
 *
 * A content that is shorter than a file's is written over it in one write, and the rest is cut off after that: a reader never
 * finds the file empty, and for a moment may find the new content with the end of the old one behind it.
 */

/** Folder beside the files where their new contents lie: it is taken away in the end. */
export const STAGED = "staged";

/** `$1`: the folder; what follows: paths of files below it. Their new contents, owners and modes are those of `staged/PATH`. */
export const OVERWRITE = `
set -eu
cd "$1"
shift
for path; do
    new=${STAGED}/$path
    if [ ! -f "$path" ]; then
        mkdir -p "$(dirname "$path")"
        mv "$new" "$path"
        continue
    fi
    chown "$(stat -c %u:%g "$new")" "$path"
    chmod "$(stat -c %a "$new")" "$path"
    cmp -s "$new" "$path" && continue
    size=$(stat -c %s "$new")
    [ "$size" = 0 ] || dd if="$new" of="$path" bs="$size" count=1 iflag=fullblock conv=notrunc status=none
    truncate -s "$size" "$path"
done
rm -rf ${STAGED}
`;
