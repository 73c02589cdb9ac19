/** What is recorded of ops on tracked tensors, for a backward pass, which `src/tape` makes. */
import { ParameterError, UnsupportedError } from '../errors';
import type { Control } from '../runtime/backend';
import { type DType, isFloat } from './dtype';
import type { Shape } from './shape';
import type { Recording, Stored } from './storage';
import type { Tensor, Tracked, View } from './tensor';

/** The gradients of an op. */
export interface Derivative {
  /**
   * Inputs and results, by name, that `gradients` reads where these inputs are wanted: what the tape keeps alive. Those that
   * are not there are passed over.
   */
  readonly saves: readonly string[] | ((wanted: ReadonlySet<string>) => readonly string[]);
  /**
   * The gradients with respect to the wanted inputs, each of the shape of its input, zero where left out, from those with
   * respect to the results, which are contiguous, and undefined where the loss does not depend on them. Runs in a scope, on
   * tensors that no tape tracks.
   */
  gradients(
    saved: Readonly<Record<string, Tensor>>,
    gradients: Readonly<Record<string, Tensor | undefined>>,
    wanted: ReadonlySet<string>,
    control: Control,
  ): Readonly<Record<string, Tensor | undefined>>;
}

/** A gradient with respect to a part of a variable, from `start` on along an axis. */
export interface Part {
  readonly axis: number;
  readonly start: number;
  readonly gradient: Tensor;
}

/** A tracked tensor as its tape knows it: what there is a gradient with respect to. */
export class Variable implements Tracked {
  /** What has come together of its gradient in the backward pass. */
  sum: Tensor | undefined;
  /** And of slices, which make up the whole more often than not. */
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

/** What the tape keeps. */
interface Kept extends Stored {
  isKept: boolean;
}

/** A call of an op, or a view. */
export interface Step {
  /** The op's name, for error messages. */
  readonly name: string;
  /** The tracked ones. */
  readonly inputs: Readonly<Record<string, Variable>>;
  /** Their names. */
  readonly wanted: ReadonlySet<string>;
  readonly results: Readonly<Record<string, Variable>>;
  readonly saved: Readonly<Record<string, Kept>>;
  readonly derivative: Derivative['gradients'] | View;
}

interface Held {
  readonly recording: Recording;
  /** With what has been let go of. */
  readonly places: Kept[];
}

const forgotten = new FinalizationRegistry<Held>(release);

function release({ recording, places }: Held): void {
  recording.isOver = true;
  places.forEach(letGo);
}

function letGo(place: Kept): void {
  if (!place.isKept) return;
  place.isKept = false;
  place.storage.endKeeping();
}

/** The ops on tracked tensors, in the order in which they were called. */
export class Tape {
  #steps: Step[] = [];
  readonly #held: Held = { recording: { isOver: false }, places: [] };

  constructor() {
    forgotten.register(this, this.#held, this);
  }

  /** Whether it records no longer. */
  get ended(): boolean {
    return this.#held.recording.isOver;
  }

  /** The variable of a tensor, whose memory is kept until the tape ends. */
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

  /** Keeps the memory of a tensor, in which nobody writes meanwhile. */
  keep({ storage, dtype, shape, strides, offset }: Tensor): Kept {
    const place = { storage: storage.keep(), dtype, shape, strides, offset, isKept: true };
    this.#held.places.push(place);
    return place;
  }

  /** Ends the recording and gives what was recorded; what a step saved is let go of by `letGoOf`, or by `end`. */
  take(): readonly Step[] {
    const steps = this.#steps;
    this.#steps = [];
    this.#held.recording.isOver = true;
    return steps;
  }

  /** Lets go of all that is kept. */
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

/** The tape that tracks some of the inputs of a call; undefined if none is tracked. */
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

/** Records a call; its floating-point results become tracked. */
export function record(
  name: string,
  tape: Tape,
  inputs: Readonly<Record<string, Tensor>>,
  results: Readonly<Record<string, Tensor>>,
  { saves, gradients }: Derivative,
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
  tape.record({ name, inputs: tracked, wanted, results: variables, saved, derivative: gradients });
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
