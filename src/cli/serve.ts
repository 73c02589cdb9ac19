import { isIPv6 } from 'node:net';
import { basename } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { serve } from '@hono/node-server';
import { Command, InvalidArgumentError, Option } from 'commander';
import { deferred } from '../deferred';
import { checkInstalled } from '../packages';
import { interruptible } from './interrupt';
import { DEFAULT_MODEL, type LanguageOptions, languageOptions } from './language';
import { wholeNumber } from './options';
import { frontOf, Room } from './serve-front';
import { ModelThread } from './serve-thread';

interface Options extends LanguageOptions {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly allowHost: readonly string[];
  readonly allowOrigin: readonly string[];
  readonly rows: number;
  readonly queue: number;
  readonly seconds: number;
  readonly name?: string;
}

/** How long a client may take to send a request, and how often that is looked at, in milliseconds. */
const PATIENCE = { requestTimeout: 30_000, headersTimeout: 10_000, connectionsCheckingInterval: 1000 };
/** How long a client may take none of what is written, or send nothing where it should. */
const STALLED = 10_000;
/** Bytes beyond those at rest from which on garbage is collected early, and how often that is looked at, in milliseconds. */
const [MUCH, LOOK_EVERY] = [96 * 2 ** 20, 250];
/** How long answers under way may take to end when the server does. */
const LAST_TIME = 400;

const LOOPBACK = /^(127\.|::1$|localhost$)/;

export function serveCommand(): Command {
  const each = (word: string, all: readonly string[]) => [...all, word];
  return languageOptions(
    new Command('serve')
      .option('--host <address>', 'where it listens: only programs of this machine reach the default', '127.0.0.1')
      .option('--port <number>', '0 for a free one', wholeNumber(0, 65_535), 8080)
      .addOption(
        new Option('--api-key <key>', 'what clients must send as Authorization: Bearer KEY; default: nothing')
          .env('SACCADE_API_KEY')
          .argParser(bearerToken),
      )
      .option(
        '--allow-origin <origin>',
        'whose pages may ask, such as https://example.org, or * for all; repeatable',
        each,
        [],
      )
      .option(
        '--allow-host <name>',
        'by which name clients may call it, besides localhost, addresses and --host; repeatable',
        each,
        [],
      )
      .option('--rows <count>', 'answers computed side by side', wholeNumber(1, 256), 8)
      .option('--queue <count>', 'answers under way and waiting, at most', wholeNumber(1, 65_536), 64)
      .option('--seconds <count>', 'how long a request may take, at most', wholeNumber(1, 86_400), 600)
      .option('--name <name>', 'what the model is called; default: its file or folder'),
  )
    .addHelpText(
      'after',
      '\nPOST /v1/chat/completions, /v1/completions, /v1/embeddings, GET /v1/models, /health. Ctrl-C ends it within a second.',
    )
    .action((options: Options) => interruptible((interrupted) => serveModel(options, interrupted)));
}

function bearerToken(text: string): string {
  if (/^[\w.~+/-]+=*$/.test(text)) return text;
  throw new InvalidArgumentError('It must be of letters, digits and ._~+/-, with = at the end only.');
}

async function serveModel(options: Options, interrupted: AbortSignal): Promise<void> {
  const { host, port, apiKey, allowHost, allowOrigin, model } = options;
  const name = options.name ?? basename(model ?? DEFAULT_MODEL);
  if (apiKey === undefined && !LOOPBACK.test(host))
    warn(`everyone who reaches this machine may use the model: ask for a key, by --api-key or SACCADE_API_KEY`);
  try {
    checkInstalled({ '@mlc-ai/web-xgrammar': 'response_format' });
  } catch (error) {
    warn((error as Error).message);
  }
  const thread = new ModelThread({ ...options, name });
  try {
    const context = await thread.start(interrupted);
    // Hostile requests leave much behind; without them, collecting early would cost answers a quarter of their speed.
    const atRest = process.memoryUsage.rss();
    const look = () =>
      setFlagsFromString(`--${process.memoryUsage.rss() > atRest + MUCH ? '' : 'no-'}optimize-for-size`);
    setInterval(look, LOOK_EVERY).unref();
    const room = new Room();
    const { fetch } = frontOf({
      name,
      key: apiKey,
      hosts: [host, ...allowHost],
      origins: allowOrigin,
      context,
      room,
      answer: thread.answer,
    });
    const closed = deferred<void>();
    const server = serve({ fetch, hostname: host, port, serverOptions: PATIENCE }, ({ address, port }) =>
      process.stdout.write(`http://${isIPv6(address) ? `[${address}]` : address}:${port}/v1\n`),
    ) as import('node:http').Server;
    room.watch(server);
    server.setTimeout(STALLED, (socket) => {
      if (room.isIdle(socket) || socket.writableLength > 0) socket.destroy();
      else socket.setTimeout(STALLED);
    });
    server.on('error', closed.reject);
    interrupted.addEventListener('abort', () => {
      server.close(() => closed.resolve());
      thread.end();
      setTimeout(() => server.closeAllConnections(), LAST_TIME);
    });
    // Once it was interrupted, the thread ends as it should.
    thread.ended.catch((error) => interrupted.aborted || closed.reject(error));
    await closed.promise;
  } finally {
    await thread.stop();
  }
}

const warn = (text: string) => process.stderr.write(`saccade: ${text}\n`);
