/** The worker's side of `ask.ts`. */
import type { Control } from '../../src/runtime/backend';

/** A page's question to its worker: a task by name with its arguments, or to cancel an earlier one. */
interface Question {
  readonly id: number;
  readonly task?: string;
  readonly input?: unknown;
  readonly cancel?: true;
}

export type Answer =
  | { readonly id: number; readonly done: unknown }
  | { readonly id: number; readonly progress: unknown }
  | { readonly id: number; readonly error: string };

/** Tells of what has been found so far, before the end. */
export interface TaskControl extends Pick<Control, 'signal'> {
  report(found: unknown): void;
}

// biome-ignore lint/suspicious/noExplicitAny: tasks differ in what they take.
export type Task = (input: any, control: TaskControl) => unknown;

/** `task` does one by its name. */
export function answers(task: (name: string, ...rest: Parameters<Task>) => unknown): void {
  const going = new Map<number, AbortController>();
  addEventListener('message', async ({ data }: MessageEvent<Question>) => {
    const { id, task: name, input, cancel } = data;
    if (cancel) return going.get(id)?.abort(new Error('cancelled'));
    const control = new AbortController();
    going.set(id, control);
    const answer = (rest: object, moved: Transferable[] = []) => postMessage({ id, ...rest }, { transfer: moved });
    try {
      const done = await task(name as string, input, {
        signal: control.signal,
        report: (progress) => answer({ progress }),
      });
      answer({ done }, ArrayBuffer.isView(done) ? [done.buffer] : []);
    } catch (error) {
      answer({ error: error instanceof Error ? error.message : String(error) });
    } finally {
      going.delete(id);
    }
  });
}
