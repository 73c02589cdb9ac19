/** How methods go on from what is kept of the tokens before: a state, or the inputs of all of them. */
import { ParameterError } from '../errors';
import type {
  Advanced,
  AdvanceOptions,
  Complete,
  Continuation,
  FromInputs,
  FromKeys,
  FromOwn,
} from '../methods/continuation';
import type { Method } from '../methods/define';
import { checkTensors } from '../ops/check';
import { concat, contiguous, pad } from '../ops/copy';
import { zeros } from '../ops/float32';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

export type Tensors = Readonly<Record<string, Tensor>>;

export interface Recurrence {
  readonly method: Method;
  /** As the method parses them. */
  readonly params: object;
  readonly continuation: Exclude<Continuation, FromKeys | FromOwn>;
}

/** What is kept once the rows have so many tokens. */
export interface Moment {
  readonly lengths: readonly number[];
  /** By the inputs of the method, for all rows; nothing before the first token. Behind the last token of a row may be others. */
  readonly kept: Tensors;
}

/** @throws {ParameterError} a method that computes anew from inputs that belong to several tokens together, which nobody can add to */
export function checkTokens({ method, continuation }: Recurrence, name: string): void {
  if (continuation.from !== 'inputs') return;
  for (const input of Object.keys(method.inputs))
    if (tokenAxis(method, input) < 0 && batchAxis(method, input) >= 0)
      throw new ParameterError(
        `${name}: ${method.name} cannot go on from tokens that it has seen, as its input ${input} is of several together`,
      );
}

/** The result for the first `counts[r]` of n tokens of each row, zeros behind them, and what is kept then. */
export function advance(
  recurrence: Recurrence,
  inputs: Tensors,
  before: Moment,
  counts: readonly number[],
  control: Control,
  complete?: Complete,
): { readonly out: Tensor; readonly kept: Tensors } {
  const { method, continuation } = recurrence;
  const { lengths } = before;
  const n = inputs.q?.shape[1] as number;
  const isEven = continuation.from === 'state' || lengths.every((length) => length === lengths[0]);
  if (n > 0 && isEven && counts.every((count) => count === n))
    return step(recurrence, inputs, before.kept, { ...control, lengths }, complete);
  const parts = counts.map((count, row) => {
    const kept = keptOf(recurrence, before, row);
    if (count === 0) return { kept, out: undefined };
    const options = { ...control, lengths: [lengths[row] as number] };
    const { out, kept: next } = step(recurrence, partOf(method, inputs, row, count), kept, options, complete);
    return { out: padded(out, 1, n), kept: next };
  });
  const { q, v } = inputs as Record<'q' | 'v', Tensor>;
  checkTensors({ q, v });
  const shape = [1, ...q.shape.slice(1, -1), v.shape.at(-1) as number];
  return {
    out: asRows(parts.map(({ out }) => out ?? zeros(q.runtime, shape))),
    kept: joined(
      method,
      parts.map(({ kept }, row) => partOf(method, kept, 0, (lengths[row] as number) + (counts[row] as number))),
    ),
  };
}

/** For rows with as many tokens before, and as many now. */
function step(
  { method, params, continuation }: Recurrence,
  inputs: Tensors,
  kept: Tensors,
  { signal, lengths }: AdvanceOptions,
  complete: Complete = (given) => given,
): { readonly out: Tensor; readonly kept: Tensors } {
  const forward = (given: Tensors) => method.forward(complete(given) as never, params as never, { signal }) as Advanced;
  if (continuation.from === 'state') {
    const given = { ...inputs, ...kept };
    const results = continuation.advance?.(complete(given), { signal, lengths }) ?? forward(given);
    const state = Object.entries(continuation.state).map(([input, output]) => [input, results[output] as Tensor]);
    return { out: results.out, kept: Object.fromEntries(state) };
  }
  const [before] = lengths as [number];
  const n = inputs.q?.shape[1] as number;
  const all: Tensors = Object.fromEntries(
    keptInputs(method, continuation, inputs).map((name) => [
      name,
      appended(kept[name], inputs[name] as Tensor, tokenAxis(method, name), before),
    ]),
  );
  const { out } = forward({ ...inputs, ...partOf(method, all, undefined, before + n) });
  const [, length] = out.shape as [number, number];
  return { out: out.slice(1, length - n, length), kept: all };
}

/** The first `count` tokens of x and others behind them: of a single row in x itself if it has room, else in a copy with more. */
function appended(x: Tensor | undefined, others: Tensor, axis: number, count: number): Tensor {
  const before = count > 0 ? x?.slice(axis, 0, count) : undefined;
  const parts = [...(before ? [before] : []), others] as Tensor<'f32'>[];
  const { runtime, dtype, shape } = others;
  const past = count + (shape[axis] as number);
  // Tokens of several rows do not lie one after another in a part of a table, and a tape knows no tensor that is written in parts.
  const isPlain = axis === 1 && shape[0] === 1 && !parts.some(({ variable, storage }) => variable || storage.isKept);
  if (!before || !isPlain) return concat(parts, axis);
  const hasRoom = ((x as Tensor).shape[axis] as number) >= past;
  const table = hasRoom ? (x as Tensor) : runtime.empty([1, past + (past >> 1), ...shape.slice(2)], dtype);
  if (!hasRoom) contiguous(before, { out: table.slice(axis, 0, count) });
  contiguous(others, { out: table.slice(axis, count, past) });
  return table;
}

/** The names of those inputs that are kept of all tokens. */
export function keptInputs(method: Method, { lastQueries }: FromInputs, inputs: object = method.inputs): string[] {
  return Object.keys(inputs).filter((name) => {
    const axis = tokenAxis(method, name);
    return axis >= 0 && !(lastQueries && lettersOf(method, name)[axis] === 'n');
  });
}

/** What is kept of a row, or of all rows if they have as many tokens each. */
export function keptOf({ method, continuation }: Recurrence, { lengths, kept }: Moment, row?: number): Tensors {
  if (continuation.from === 'state') return partOf(method, kept, row);
  const tokens = lengths[row ?? 0] as number;
  return tokens === 0 ? {} : partOf(method, kept, row, tokens);
}

/** Tensors of single rows as those of all; what a row lacks, at its end too, is zeros. */
export function joined(method: Method, rows: readonly Tensors[]): Tensors {
  const names = [...new Set(rows.flatMap(Object.keys))];
  return Object.fromEntries(
    names.map((name) => {
      if (batchAxis(method, name) !== 0)
        throw new ParameterError(
          `${method.name} cannot go on from rows of different lengths, as its input ${name} is of all rows together`,
        );
      const axis = tokenAxis(method, name);
      const found = rows.flatMap((row) => row[name] ?? []);
      const [{ runtime, shape }] = found as [Tensor];
      const longest = Math.max(...found.map((x) => x.shape[axis] ?? 0));
      const none = () =>
        zeros(
          runtime,
          shape.map((extent, at) => (at === axis ? longest : extent)),
        );
      return [name, asRows(rows.map((row) => (row[name] ? padded(row[name], axis, longest) : none())))];
    }),
  );
}

/** Tensors [1, ...] as rows of one tensor, each by its own call, so that a fault of one does not affect the others. */
function asRows(parts: readonly Tensor[]): Tensor {
  const [{ runtime, shape, dtype }] = parts as [Tensor];
  // A tape knows no tensor that is written in parts.
  if (parts.some(({ variable }) => variable)) return concat(parts as Tensor<'f32'>[], 0);
  const all = runtime.empty([parts.length, ...shape.slice(1)], dtype);
  for (const [row, part] of parts.entries()) contiguous(part, { out: all.slice(0, row, row + 1) });
  return all;
}

/** Zeros behind what there is along an axis, up to `extent`; an axis below 0 is none. */
function padded(x: Tensor, axis: number, extent: number): Tensor {
  const missing = axis < 0 ? 0 : extent - (x.shape[axis] as number);
  if (missing === 0) return x;
  return pad(
    x,
    x.shape.map((_, at): [number, number] => [0, at === axis ? missing : 0]),
  );
}

/** One row of tensors, or all, and the first so many tokens, or all; of what rows or tokens share, all. */
function partOf(method: Method, tensors: Tensors, row?: number, tokens?: number): Tensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, x]) => {
      const [batch, axis] = [batchAxis(method, name), tokenAxis(method, name)];
      const own = batch >= 0 && row !== undefined ? x.slice(batch, row, row + 1) : x;
      return [name, axis >= 0 && tokens !== undefined ? own.slice(axis, 0, tokens) : own];
    }),
  );
}

/** A state that is no input has rows first. */
const lettersOf = ({ inputs, optional }: Method, name: string): readonly string[] =>
  (inputs[name] ?? optional?.[name] ?? 'b').split(' ');

const batchAxis = (method: Method, name: string) => lettersOf(method, name).indexOf('b');

/** The axis of an input's tokens, -1 for inputs that all tokens share. */
export const tokenAxis = (method: Method, name: string) =>
  lettersOf(method, name).findIndex((letter) => letter === 'n' || letter === 'm');
