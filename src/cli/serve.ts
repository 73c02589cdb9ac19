import { basename } from 'node:path';
import { serve } from '@hono/node-server';
import { Command } from 'commander';
import { deferred } from '../deferred';
import { interruptible } from './interrupt';
import { DEFAULT_MODEL, type LanguageOptions, languageOptions, withLanguageModel } from './language';
import { openaiInterface } from './openai';
import { wholeNumber } from './options';

interface Options extends LanguageOptions {
  readonly host: string;
  readonly port: number;
  readonly rows: number;
  readonly queue: number;
  readonly name?: string;
}

/** How long a client may take to send a request, and how often that is looked at, in milliseconds. */
const PATIENCE = { requestTimeout: 30_000, headersTimeout: 30_000, connectionsCheckingInterval: 5000 };
/** How long answers under way may take when the server ends. */
const LAST_TIME = 10_000;
const MOST_CONNECTIONS = 1024;

export function serveCommand(): Command {
  return languageOptions(
    new Command('serve')
      .option('--host <address>', 'where it listens: only programs of this machine reach the default', '127.0.0.1')
      .option('--port <number>', '0 for a free one', wholeNumber(0, 65_535), 8080)
      .option('--rows <count>', 'answers computed side by side', wholeNumber(1, 256), 8)
      .option('--queue <count>', 'requests under way and waiting, at most', wholeNumber(1, 65_536), 64)
      .option('--name <name>', 'what the model is called; default: its file or folder'),
  )
    .addHelpText(
      'after',
      '\nPOST /v1/chat/completions, /v1/completions, /v1/embeddings, GET /v1/models, /health. Ctrl-C ends it once answers under way are done, or after 10 s.',
    )
    .action((options: Options) =>
      withLanguageModel(
        options,
        (model) =>
          interruptible(async (interrupted) => {
            const { host, port, queue } = options;
            const ending = new AbortController();
            const app = openaiInterface(model, {
              name: options.name ?? basename(options.model ?? DEFAULT_MODEL),
              queue,
              signal: ending.signal,
            });
            const ended = deferred<void>();
            const server = serve({ fetch: app.fetch, hostname: host, port, serverOptions: PATIENCE }, (address) => {
              const at = address.family === 'IPv6' ? `[${address.address}]` : address.address;
              process.stdout.write(`http://${at}:${address.port}/v1\n`);
            });
            Object.assign(server, { maxConnections: MOST_CONNECTIONS });
            server.on('error', ended.reject);
            interrupted.addEventListener('abort', () => {
              server.close(() => ended.resolve());
              setTimeout(() => ending.abort(interrupted.reason), LAST_TIME).unref();
            });
            await ended.promise;
          }),
        { rows: options.rows },
      ),
    );
}
