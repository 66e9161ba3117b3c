/** The page: asks for a name, joins, and shows who is there. */
/* global document, navigator, FormData */
import { Room } from "./room.js";
import { statistics } from "./statistics.js";

const ROOM = 1;
const CAMERA = { audio: true, video: { width: 320, height: 240, frameRate: 10 } };

const form = document.querySelector("#join");
const status = document.querySelector("#status");
const participants = document.querySelector("#participants");

/** A participant's picture; gives the element that says how it comes. */
function show(id, name, stream, muted) {
    const figure = document.createElement("figure");
    figure.id = `participant-${id}`;
    const video = document.createElement("video");
    Object.assign(video, { srcObject: stream, autoplay: true, playsInline: true, muted });
    const caption = document.createElement("figcaption");
    const [who, how] = [document.createElement("span"), document.createElement("span")];
    who.textContent = name;
    caption.append(who, how);
    figure.append(video, caption);
    participants.append(figure);
    return how;
}

async function describe(connection, element) {
    const { way, relayProtocol, framesPerSecond } = await statistics(connection);
    const path = way === "relay" ? `relay, ${relayProtocol}` : way;
    element.textContent = way ? `${path}, ${framesPerSecond} frames a second` : "connecting";
}

async function join() {
    const { name, relay } = Object.fromEntries(new FormData(form));
    form.hidden = true;
    status.textContent = "Joining…";
    const stream = await navigator.mediaDevices.getUserMedia(CAMERA);
    show("self", `${name} (you)`, stream, true);
    const room = new Room();
    room.oncome = ({ id, name: other, stream: received, connection }) => {
        const how = show(id, other, received, false);
        const timer = setInterval(() => {
            if (connection.connectionState === "closed") clearInterval(timer);
            else void describe(connection, how);
        }, 1000);
        connections.set(other, connection);
    };
    room.ongo = (id) => document.querySelector(`#participant-${id}`)?.remove();
    room.onend = (reason) => (status.textContent = reason);
    await room.enter({ name, stream, relayOnly: relay === "on", number: ROOM });
    status.textContent = `Joined as ${name}`;
}

const connections = new Map();
/** For the browser's console: `await conference.statistics("Ada")`. */
globalThis.conference = {
    statistics: (name) => (connections.has(name) ? statistics(connections.get(name)) : undefined),
};

form.addEventListener("submit", (event) => {
    event.preventDefault();
    join().catch((error) => (status.textContent = `Cannot join: ${error.message}`));
});
