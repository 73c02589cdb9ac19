/** The thread of a served model: opens it, and answers requests that come with a port for the response. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { deferred } from '../deferred';
import { SaccadeError } from '../errors';
import { withLanguageModel } from './language';
import { openaiInterface } from './openai';
import { AHEAD, type Started, type ThreadOptions } from './serve-thread';

interface Request {
  readonly path: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly port: MessagePort;
}

const options = workerData as ThreadOptions;
const parent = parentPort as MessagePort;
const say = (started: Started) => parent.postMessage(started);

try {
  await withLanguageModel(
    options,
    async (model) => {
      const ending = new AbortController();
      const ended = deferred<void>();
      const app = openaiInterface(model, { ...options, signal: ending.signal });
      parent.on('message', async (request: Request | 'end') => {
        if (request === 'end') {
          ending.abort();
          return ended.resolve();
        }
        const { path, body, port } = request;
        const client = new AbortController();
        let [room, isRead] = [AHEAD, deferred<void>()];
        port.on('message', () => {
          room++;
          isRead.resolve();
        });
        port.on('close', () => {
          client.abort();
          isRead.resolve();
        });
        // A reader that takes nothing does not keep the thread.
        port.unref();
        const response = await app.request(path, { method: 'POST', body, signal: client.signal });
        const headers: [string, string][] = [];
        response.headers.forEach((value, name) => void headers.push([name, value]));
        port.postMessage({ status: response.status, headers });
        const reader = response.body?.getReader();
        for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
          port.postMessage(next.value);
          for (room--; room <= 0 && !client.signal.aborted; await isRead.promise) isRead = deferred();
        }
        port.close();
      });
      say({ context: model.context });
      await ended.promise;
    },
    { rows: options.rows, formats: true },
  );
} catch (error) {
  say({ failure: { message: (error as Error).message, isRefusal: error instanceof SaccadeError } });
} finally {
  parent.close();
}
