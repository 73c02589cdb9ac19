/** What stands before the model: who may ask, and how much is taken in. */
import { isIP, type Server, type Socket } from 'node:net';
import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { bearerAuth } from 'hono/bearer-auth';
import { cors } from 'hono/cors';
import { answerErrors } from './openai';
import { RefusedError, tooMuch } from './openai-requests';

export interface FrontOptions {
  /** What the model is called. */
  readonly name: string;
  /** What clients must name, if anything. */
  readonly key?: string | undefined;
  /** Names besides those of this machine by which clients may call it. */
  readonly hosts: readonly string[];
  /** Origins of pages that may ask; `*` for all. */
  readonly origins: readonly string[];
  /** Tokens of the model's context, beyond which bodies have no use. */
  readonly context: number;
  readonly room: Room;
  readonly answer: Answer;
}

/** Answers the body of a request to a path; says when nothing more is computed for it. */
export type Answer = (
  path: string,
  body: Uint8Array,
  control: { readonly signal: AbortSignal; readonly onEnd: () => void },
) => Promise<Response>;

const [LARGEST_BODY, MOST_BYTES, MOST_CONNECTIONS] = [4 * 2 ** 20, 16 * 2 ** 20, 512];

/**
 * Connections, and bytes of requests that are being read or wait for the beginning of their answer. Where there are too many,
 * connections for which nothing is computed make room, such as those that are idle, half-sent or read slowly, and requests that are
 * half sent: the oldest first.
 */
export class Room {
  readonly #idle = new Set<Socket>();
  readonly #sending = new Set<Socket>();
  #connections = 0;
  #bytes = 0;

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => {
      this.#idle.add(socket);
      if (++this.#connections > MOST_CONNECTIONS) this.#end(this.#idle);
      socket.on('close', () => {
        this.#connections--;
        this.#idle.delete(socket);
      });
    });
  }

  isIdle(socket: Socket): boolean {
    return this.#idle.has(socket);
  }

  /** Says whether something is being computed for a connection, which has just been used. */
  set(socket: Socket | undefined, isIdle: boolean): void {
    this.#idle.delete(socket as Socket);
    if (isIdle && socket && !socket.destroyed) this.#idle.add(socket);
  }

  /** Takes bytes of a request, or gives some back. */
  take(bytes: number, from: Socket | undefined): void {
    this.#bytes += bytes;
    if (bytes < 0) this.#sending.delete(from as Socket);
    else if (this.#bytes > MOST_BYTES && !this.#end(this.#sending, from))
      throw tooMuch(`requests of ${MOST_BYTES} bytes are under way`);
    else if (from) this.#sending.add(from);
  }

  /** A whole request was taken. */
  taken(from: Socket | undefined): void {
    this.#sending.delete(from as Socket);
    this.set(from, false);
  }

  /** Ends the oldest of these connections, if there is one. */
  #end(sockets: Set<Socket>, but?: Socket): boolean {
    for (const socket of sockets) {
      if (socket === but) continue;
      sockets.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }
}

/** The application, whose requests `answer` answers if they are let through. */
export function frontOf({ name, key, hosts, origins, context, room, answer }: FrontOptions) {
  const app = new Hono<{ Bindings: HttpBindings }>();
  const created = Math.floor(Date.now() / 1000);
  const model = { id: name, object: 'model', created, owned_by: 'saccade' };
  const allows = (origin: string, host = '') =>
    origins.includes('*') || origins.includes(origin) || origin === `http://${host}`;

  answerErrors(app);
  app.use(async (c, next) => {
    const [host = '', origin] = [c.req.header('host'), c.req.header('origin')];
    room.set(c.env?.incoming?.socket, true);
    // A page whose name was made to lead to this machine calls it by that name.
    if (!isOwn(host, hosts))
      throw new RefusedError(403, `${quoted(host)} is no host of this server: allow it by --allow-host`);
    if (origin !== undefined && !allows(origin, host))
      throw new RefusedError(403, `pages of ${quoted(origin)} may not ask: allow them by --allow-origin`);
    await next();
  });
  app.use(cors({ origin: (origin, c) => (allows(origin, c.req.header('host')) ? origin : null), maxAge: 600 }));
  app.get('/health', (c) => c.json({ status: 'ok' }));
  if (key !== undefined) app.use(bearer(key));
  app.get('/v1/models', (c) => c.json({ object: 'list', data: [model] }));
  app.get('/v1/models/:model{.+}', (c) => {
    if (c.req.param('model') === name) return c.json(model);
    throw new RefusedError(404, `there is no model but ${name}`, { code: 'model_not_found', param: 'model' });
  });
  app.post('/v1/:kind{chat/completions|completions|embeddings}', async (c) => {
    // Anything else may come from pages that were not allowed to ask.
    const type = c.req.header('content-type') ?? '';
    if (!/^application\/json\s*(;|$)/i.test(type))
      throw new RefusedError(415, `Content-Type must be application/json, got ${quoted(type)}`);
    const socket = c.env?.incoming?.socket;
    let taken = 0;
    try {
      const body = await bodyOf(c.req.raw, Math.min(LARGEST_BODY, 2 ** 18 + 64 * context), (bytes) => {
        taken += bytes;
        room.take(bytes, socket);
      });
      room.taken(socket);
      return await answer(c.req.path, body, { signal: c.req.raw.signal, onEnd: () => room.set(socket, true) });
    } finally {
      room.take(-taken, socket);
    }
  });
  return app;
}

const quoted = (text: string) => JSON.stringify(text.slice(0, 100));

function bearer(token: string) {
  const message = () => {
    throw new RefusedError(401, 'the key of this server must be given, as Authorization: Bearer KEY', {
      code: 'invalid_api_key',
    });
  };
  return bearerAuth({
    token,
    noAuthenticationHeader: { message },
    invalidAuthenticationHeader: { message },
    invalidToken: { message },
  });
}

/** Addresses, which no name server has a say in, and known names. */
function isOwn(host: string, names: readonly string[]): boolean {
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  return isIP(hostname.replace(/^\[|\]$/g, '')) > 0 || hostname === 'localhost' || names.includes(hostname);
}

/** Hono's limit of a body bounds each alone, and not all that are half sent. */
async function bodyOf(request: Request, most: number, onBytes: (bytes: number) => void): Promise<Uint8Array> {
  const refuse = () => {
    throw new RefusedError(413, `the request must have at most ${most} bytes, got more`);
  };
  if (Number(request.headers.get('content-length')) > most) refuse();
  const reader = request.body?.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    size += next.value.length;
    if (size > most) refuse();
    onBytes(next.value.length);
    chunks.push(next.value);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}
