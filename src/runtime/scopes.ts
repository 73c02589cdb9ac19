/** The scopes of a runtime, innermost last, and what tells those that nest from those that run at the same time. */
import { SaccadeError } from '../errors';
import { Tensor } from '../tensor/tensor';

/** One call of `scope()`. */
class Scope {
  readonly owned = new Set<Tensor>();
  /** Calls that were begun while it was the innermost and have not settled. */
  pending = 0;
  /** Its work has not yet waited for anything, so whoever opens a scope now does so within it. */
  isRunning = true;
  /** Nothing that its work waits for can have happened, so whoever opens a scope now does so beside it. */
  isFresh = true;
}

/**
 * Nothing in JavaScript tells which of several pending functions goes on, so a tensor belongs to the innermost scope. That
 * is right as long as scopes nest. Where they do not, a scope ends with an error, before it disposes what may be another's.
 */
export class Scopes {
  #open: Scope[] = [];

  /** Puts a new tensor under the innermost open scope. */
  own(tensor: Tensor): void {
    this.#open.at(-1)?.owned.add(tensor);
  }

  disown(tensor: Tensor): void {
    for (const { owned } of this.#open) owned.delete(tensor);
  }

  /** Takes note of a call that begins under the innermost scope; what is returned is called when it has settled. */
  begin(): () => void {
    const scope = this.#open.at(-1);
    if (!scope) return nothing;
    scope.pending++;
    return () => {
      scope.pending--;
    };
  }

  /** Runs `work` in a scope of its own: see `Runtime.scope()`. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    const around = this.#open.at(-1);
    if (around && !around.isRunning && around.isFresh) throw overlap('began beside another that is still open');
    if (around && around.pending > 0) throw overlap('began while a call made in the scope around it was pending');
    const scope = new Scope();
    this.#open.push(scope);
    // Before `work`, so that it comes before whatever that waits for.
    queueMicrotask(() => {
      scope.isFresh = false;
    });
    let kept: Tensor[] = [];
    try {
      const working = start(work, scope);
      const result = working instanceof Promise ? await working : working;
      kept = this.#resultsOf(result, scope);
      return result;
    } finally {
      this.#close(scope, kept);
    }
  }

  /** The tensors among what the work of `scope` returned; throws where other work ran at the same time. */
  #resultsOf(result: unknown, scope: Scope): Tensor[] {
    if (this.#open.at(-1) !== scope) throw overlap('ended while a scope opened later was still open');
    if (scope.pending > 0) throw overlap('ended while a call made in it, or beside it, was pending');
    const kept = tensorsIn(result);
    if (kept.some((tensor) => tensor.endedWithScope)) throw overlap('returned a tensor that another disposed');
    return kept;
  }

  #close(scope: Scope, kept: readonly Tensor[]): void {
    const at = this.#open.indexOf(scope);
    const around = this.#open[at - 1];
    this.#open.splice(at, 1);
    const { owned, pending } = scope;
    for (const tensor of kept) if (owned.delete(tensor)) around?.owned.add(tensor);
    // Some of it may be that of the scope around it, which then disposes all when it ends.
    if (pending > 0 && around) for (const tensor of owned) around.owned.add(tensor);
    else for (const tensor of owned) tensor.disposeWithScope();
  }
}

function start<T>(work: () => T | Promise<T>, scope: Scope): T | Promise<T> {
  try {
    return work();
  } finally {
    scope.isRunning = false;
  }
}

function overlap(what: string): SaccadeError {
  return new SaccadeError(
    `scope() ${what}: scopes of one runtime that run at the same time would dispose each other's tensors; await one before the next, or dispose by hand (using, dispose())`,
  );
}

function nothing(): void {}

function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return [];
  return Object.values(value).filter((entry) => entry instanceof Tensor);
}
