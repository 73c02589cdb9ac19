/** A nats-server for tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { configOf, listening } from '../src/sweep/serve';

export interface TestNats {
  readonly port: number;
  /** For `connect`, and for `--server`. */
  readonly address: { readonly servers: string; readonly token: string };
  readonly url: string;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and store. */
  start(): Promise<void>;
}

/** With JetStream in the folder, up to `limit` GiB. */
export async function startNats({
  store,
  limit = 1,
}: {
  readonly store: string;
  readonly limit?: number;
}): Promise<TestNats> {
  const host = '127.0.0.1';
  const port = await freePorts();
  const token = 'secret';
  const file = join(store, 'nats-server.conf');
  await writeFile(file, configOf({ store, host, port, limit, token }));
  let child: ChildProcess;
  const start = async () => {
    child = spawn('nats-server', ['-c', file], { stdio: 'ignore' });
    await listening(host, port);
  };
  await start();
  return {
    port,
    address: { servers: `nats://${host}:${port}`, token },
    url: `nats://${token}@${host}:${port}`,
    async kill() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
    start,
  };
}

/** A port that is free, and the two after it, below those that the system gives to whoever connects. */
export async function freePorts(): Promise<number> {
  for (;;) {
    const start = 20_000 + Math.floor(Math.random() * 12_000);
    const servers = [0, 1, 2].map((more) => createServer().listen(start + more, '127.0.0.1'));
    const free = await Promise.all(
      servers.map((server) =>
        Promise.race([once(server, 'listening').then(() => true), once(server, 'error').then(() => false)]),
      ),
    );
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    if (free.every(Boolean)) return start;
  }
}
