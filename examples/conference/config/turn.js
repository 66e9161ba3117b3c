/**
 * Runs in nginx (njs): gives who has the page a user name and a password for the relay, for an hour, as coturn's
 * `use-auth-secret` checks them.
 */
import crypto from "crypto";
import fs from "fs";

const LIFETIME = 3600;

function credentials(request) {
    const secret = fs.readFileSync("/etc/turn/secret", "utf8").trim();
    const username = String(Math.floor(Date.now() / 1000) + LIFETIME);
    const credential = crypto.createHmac("sha1", secret).update(username).digest("base64");
    request.headersOut["Content-Type"] = "application/json";
    request.headersOut["Cache-Control"] = "no-store";
    request.return(200, JSON.stringify({ username, credential }));
}

export default { credentials };
