/** Worker threads from the text of a script, in Node and in pages, whatever bundled them. */

/** A worker of Node's or the browser's. */
export interface Thread<Message = unknown, Answer = unknown> {
  send(message: Message): void;
  onMessage: (answer: Answer) => void;
  onDeath: (reason: string) => void;
  /** Whether the thread keeps the process alive. */
  hold(alive: boolean): void;
  terminate(): Promise<unknown>;
}

/**
 * A worker that runs a script; its heap may take so many megabytes, in Node, where a single piece of hundreds more than that still
 * ends the process. In a page each message has the name of a lock that
 * the script has to hold until it ends.
 */
export function openThread<Message extends object, Answer>(
  source: string,
  megabytes?: number,
): Thread<Message, Answer> {
  const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
  return node ? openNode(node, source, megabytes) : openWeb(source);
}

function openNode<Message, Answer>(
  { Worker }: typeof import('node:worker_threads'),
  source: string,
  megabytes: number | undefined,
): Thread<Message, Answer> {
  const resourceLimits = megabytes === undefined ? {} : { maxOldGenerationSizeMb: megabytes };
  const worker = new Worker(source, { eval: true, execArgv: [], name: 'saccade', resourceLimits });
  const thread: Thread<Message, Answer> = {
    send: (message) => worker.postMessage(message),
    onMessage: () => {},
    onDeath: () => {},
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    terminate: () => worker.terminate(),
  };
  worker.on('message', (answer) => thread.onMessage(answer));
  worker.on('error', (error) => thread.onDeath(String(error)));
  worker.on('exit', (code) => thread.onDeath(`exit code ${code}`));
  return thread;
}

function openWeb<Message, Answer>(source: string): Thread<Message, Answer> {
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = newWorker(url);
  const lock = globalThis.navigator.locks && crypto.randomUUID();
  let end: Promise<unknown> | undefined;
  const thread: Thread<Message, Answer> = {
    send: (message) => worker.postMessage({ ...message, lock }),
    onMessage: () => {},
    onDeath: () => {},
    hold: () => {},
    terminate: async () => {
      worker.terminate();
      await end;
    },
  };
  worker.onmessage = ({ data }) => {
    URL.revokeObjectURL(url);
    // There is no event for the end of a worker, but its lock becomes free.
    if (lock) end ??= navigator.locks.request(lock, () => thread.onDeath('it was ended')).catch(() => {});
    thread.onMessage(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    thread.onDeath(event.message ?? `${POLICY} forbids workers from blob: addresses: allow them with worker-src blob:`);
  };
  return thread;
}

const POLICY = "this page's content security policy";

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

let trusted: ReturnType<TrustedTypes['createPolicy']> | undefined;

/** Under a trusted-types policy if the page has them; throws a reason in words if it allows no worker. */
function newWorker(url: string): Worker {
  const { trustedTypes } = globalThis as { readonly trustedTypes?: TrustedTypes };
  try {
    trusted ??= trustedTypes?.createPolicy('saccade', { createScriptURL: (own) => own });
  } catch {
    // The page does not allow the name, which matters only if it enforces trusted types: the next line tells.
  }
  try {
    return new Worker(trusted?.createScriptURL(url) ?? url, { name: 'saccade' });
  } catch (error) {
    URL.revokeObjectURL(url);
    const remedy = 'allow them with worker-src blob: and, where it asks for trusted types, with trusted-types saccade';
    throw `${POLICY} forbids workers: ${remedy} (${(error as Error).message})`;
  }
}
