/** The images of the example conference, of Debian packages: janus, coturn and nginx, all run by a user without rights. */
import { type DebianRecipe, debianImage } from "../debian-images";
import { type ImageConfig, type Layout, machineArchitecture } from "../layout";

/** Debian's name of this machine's architecture in the paths of libraries. */
const LIBRARIES = `/usr/lib/${machineArchitecture === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;

/** `nobody`: none of them needs more. */
const COMMON: ImageConfig = {
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    User: "65534:65534",
};

const JANUS: DebianRecipe = {
    name: "janus",
    packages: ["janus"],
    keep: [
        "/usr/bin/janus",
        `${LIBRARIES}/janus/plugins/libjanus_videoroom.so`,
        `${LIBRARIES}/janus/transports/libjanus_websockets.so`,
        // The ciphers of SRTP, which NSS loads when it is first asked.
        `${LIBRARIES}/libsoftokn3.so`,
        `${LIBRARIES}/libfreebl3.so`,
        `${LIBRARIES}/libfreeblpriv3.so`,
    ],
    // It refuses to start without them.
    folders: [`${LIBRARIES}/janus/events`, `${LIBRARIES}/janus/loggers`, "/etc/janus"],
    config: { ...COMMON, Entrypoint: ["janus"], Cmd: ["--configs-folder=/etc/janus"] },
};

const COTURN: DebianRecipe = {
    name: "coturn",
    packages: ["coturn"],
    keep: ["/usr/bin/turnserver"],
    config: {
        ...COMMON,
        Entrypoint: ["turnserver"],
        Cmd: ["-c", "/etc/turnserver.conf"],
        ExposedPorts: { "3478/udp": {}, "3478/tcp": {}, "5349/tcp": {} },
    },
};

const WEB: DebianRecipe = {
    name: "nginx-js",
    packages: ["nginx-light", "libnginx-mod-http-js"],
    keep: ["/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_http_js_module.so", "/etc/nginx/mime.types"],
    // nginx opens its log once before it has read where that should be.
    folders: ["/var/log/nginx", "/var/lib/nginx", "/usr/share/nginx"],
    config: {
        ...COMMON,
        Entrypoint: ["nginx"],
        Cmd: ["-g", "daemon off;"],
        StopSignal: "SIGQUIT",
    },
};

/** What the example's config names: an image for each of the pod's members. */
export async function conferenceImages(): Promise<Record<"janus" | "coturn" | "web", Layout>> {
    // One after the other: they unpack some hundred packages.
    return {
        janus: await debianImage(JANUS),
        coturn: await debianImage(COTURN),
        web: await debianImage(WEB),
    };
}
