/** What a page needs of the client of NATS; the build bundles it, since the packages are no modules of a browser. */
export { JetStreamApiError, jetstream, jetstreamManager } from '@nats-io/jetstream';
export { wsconnect } from '@nats-io/nats-core';
