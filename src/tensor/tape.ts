/** Records ops on tracked tensors for the backward pass (`src/tape`). */
import { ParameterError, UnsupportedError } from '../errors';
import type { Control } from '../runtime/backend';
import { type DType, isFloat } from './dtype';
import type { Shape } from './shape';
import type { Recording, Stored } from './storage';
import type { Tensor, Tracked, View } from './tensor';

/** The gradients of an op. */
export interface Derivative {
  /**
   * Names of the inputs and results that `gradients` reads for the wanted inputs, which the tape keeps alive. Missing ones are
   * ignored.
   */
  readonly saves: readonly string[] | ((wanted: ReadonlySet<string>) => readonly string[]);
  /** Whether they are computed even if the loss depends on no result, such as those that other processes wait for. */
  readonly always?: boolean;
  /**
   * The gradients with respect to the wanted inputs, in the shapes of these; left out where zero. Those with respect to the
   * results are contiguous, and undefined where the loss does not depend on one. Runs in a scope, on untracked tensors.
   */
  gradients(
    saved: Readonly<Record<string, Tensor>>,
    gradients: Readonly<Record<string, Tensor | undefined>>,
    wanted: ReadonlySet<string>,
    control: Control,
  ): Readonly<Record<string, Tensor | undefined>>;
}

/** A gradient with respect to a slice of a variable, from `start` on along an axis. */
export interface Part {
  readonly axis: number;
  readonly start: number;
  readonly gradient: Tensor;
}

/** What a tape knows of a tracked tensor. */
export class Variable implements Tracked {
  /** Its gradient so far, in the backward pass. */
  sum: Tensor | undefined;
  /** Gradients of its slices, which often make up the whole. */
  parts: Part[] | undefined;

  constructor(
    readonly tape: Tape,
    readonly shape: Shape,
    readonly dtype: DType,
  ) {}

  view(view: View, result: Tensor): Variable | undefined {
    if (this.tape.ended) return undefined;
    const variable = this.tape.variable(result);
    const [inputs, results] = [{ x: this }, { x: variable }];
    this.tape.record({ name: view.kind, inputs, wanted: X, results, saved: NOTHING, derivative: view });
    return variable;
  }
}

const X: ReadonlySet<string> = new Set(['x']);
const NOTHING = {};

/** The variable of a tensor, if a tape tracks it. */
export const variableOf = ({ variable }: Tensor): Variable | undefined =>
  variable instanceof Variable ? variable : undefined;

/** Elements that a tape keeps alive. */
interface Kept extends Stored {
  isKept: boolean;
}

/** A call of an op, or a view. */
export interface Step {
  /** The op's name, for error messages. */
  readonly name: string;
  /** Those that are tracked. */
  readonly inputs: Readonly<Record<string, Variable>>;
  /** The names of these. */
  readonly wanted: ReadonlySet<string>;
  readonly results: Readonly<Record<string, Variable>>;
  readonly saved: Readonly<Record<string, Kept>>;
  readonly derivative: Derivative['gradients'] | View;
  readonly always?: boolean;
}

interface Held {
  readonly recording: Recording;
  /** Including those that were released. */
  readonly kept: Kept[];
}

const forgotten = new FinalizationRegistry<Held>(release);

function release({ recording, kept }: Held): void {
  recording.isOver = true;
  kept.forEach(letGo);
}

function letGo(kept: Kept): void {
  if (!kept.isKept) return;
  kept.isKept = false;
  kept.storage.endKeeping();
}

/** The ops on tracked tensors, in the order of their calls. */
export class Tape {
  #steps: Step[] = [];
  readonly #held: Held = { recording: { isOver: false }, kept: [] };

  constructor() {
    forgotten.register(this, this.#held, this);
  }

  /** Whether it has stopped recording. */
  get ended(): boolean {
    return this.#held.recording.isOver;
  }

  /** The variable of a tensor whose memory is kept until the tape ends. */
  track(tensor: Tensor): Variable {
    this.keep(tensor);
    return this.variable(tensor);
  }

  variable({ shape, dtype, storage }: Tensor): Variable {
    storage.recording = this.#held.recording;
    return new Variable(this, shape, dtype);
  }

  record(step: Step): void {
    this.#steps.push(step);
  }

  /** Keeps the memory of a tensor, which nobody may write to meanwhile. */
  keep({ storage, dtype, shape, strides, offset }: Tensor): Kept {
    const kept = { storage: storage.keep(), dtype, shape, strides, offset, isKept: true };
    this.#held.kept.push(kept);
    return kept;
  }

  /** Ends the recording and returns the steps; what they saved is kept until `letGoOf` or `end`. */
  take(): readonly Step[] {
    const steps = this.#steps;
    this.#steps = [];
    this.#held.recording.isOver = true;
    return steps;
  }

  /** Ends the recording and lets go of everything. */
  end(): void {
    this.take();
    release(this.#held);
    forgotten.unregister(this);
  }
}

/** Lets go of what a step saved. */
export function letGoOf({ saved }: Step): void {
  for (const name in saved) letGo(saved[name] as Kept);
}

/** The tape that tracks inputs of a call, if one does. */
export function tapeOf(name: string, inputs: Readonly<Record<string, Tensor>>): Tape | undefined {
  let tape: Tape | undefined;
  for (const input in inputs) {
    const variable = variableOf(inputs[input] as Tensor);
    if (!variable) continue;
    if (variable.tape.ended)
      throw new ParameterError(
        `${input} of ${name} is tracked by a tape that has ended: use what differentiate() returns`,
      );
    if (tape && variable.tape !== tape)
      throw new UnsupportedError(
        `${input} of ${name} is tracked by another tape than its other inputs: second derivatives are not supported, apply stopGradient() to what is constant`,
      );
    tape = variable.tape;
  }
  return tape;
}

/** Records a call, whose floating-point results become tracked. */
export function record(
  name: string,
  tape: Tape,
  inputs: Readonly<Record<string, Tensor>>,
  results: Readonly<Record<string, Tensor>>,
  { saves, gradients, always = false }: Derivative,
): void {
  const tracked = variablesOf(inputs);
  const wanted = new Set(Object.keys(tracked));
  const saved: Record<string, Kept> = {};
  for (const each of typeof saves === 'function' ? saves(wanted) : saves) {
    const tensor = inputs[each] ?? results[each];
    if (tensor) saved[each] = tape.keep(tensor);
  }
  const variables: Record<string, Variable> = {};
  for (const each in results) {
    const result = results[each] as Tensor;
    if (isFloat(result.dtype)) variables[each] = result.variable = tape.variable(result);
  }
  tape.record({ name, inputs: tracked, wanted, results: variables, saved, derivative: gradients, always });
}

/** The variables of those tensors that are tracked. */
function variablesOf(tensors: Readonly<Record<string, Tensor>>): Record<string, Variable> {
  const variables: Record<string, Variable> = {};
  for (const name in tensors) {
    const variable = variableOf(tensors[name] as Tensor);
    if (variable) variables[name] = variable;
  }
  return variables;
}
