// A page that follows a topic: what its EventSource says, as lines of JSON.
import { EventSource } from "eventsource";

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const source = new EventSource(process.argv[2]);
source.onopen = () => say({ open: true });
source.onmessage = (e) => say({ message: JSON.parse(e.data), id: e.lastEventId });
source.addEventListener("gap", (e) => say({ gap: JSON.parse(e.data), id: e.lastEventId }));
source.addEventListener("cursor", (e) => say({ cursor: e.lastEventId }));
source.onerror = () => say({ error: source.readyState });
