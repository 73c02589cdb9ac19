/** Functions of the elements of tensors, and what kernels need of them. */
import { gradientOf } from '../../expressions/differentiate';
import { constantOf, type Expression, type InputName, input, substitute } from '../../expressions/expression';
import { BLOCK, BLOCK_REGISTERS, LANES, VECTOR_REGISTERS } from '../../expressions/params';
import { assemble, type Layout } from '../../expressions/program';
import { anyInteger, anyScore } from '../../expressions/ranges';
import { inputsOf } from '../../expressions/steps';
import { emit, type Inputs, orderOf, typedValues, type Value } from '../../expressions/typed';

export type Kind = 'float' | 'integer';

/** A function for inputs and results of certain kinds. */
export interface Compiled {
  readonly results: readonly Value[];
  /** For the kernels of the CPU. */
  readonly program: Int32Array;
  /** Instructions by what they take: a transcendental one counts as one, others as a quarter. */
  readonly work: number;
}

const LAYOUT: Layout = {
  dimensions: LANES,
  inner: LANES,
  registers: {
    outer: Array.from({ length: VECTOR_REGISTERS }, (_, at) => 16 * at),
    inner: Array.from({ length: BLOCK_REGISTERS }, (_, at) => 16 * VECTOR_REGISTERS + 4 * BLOCK * at),
  },
};

const SLOW = /^(exp|log|tanh|cos|sin|expm1|log1p|sigmoid|sigmoidSlope|softplus|erf|normalShare|power|remainder)$/;

/** The gradients with respect to some inputs, and what they follow from: inputs, and gradients with respect to results. */
export interface Gradient {
  /** Those that are not zero, in the order of `wanted`. */
  readonly function: ElementwiseFunction;
  readonly wanted: readonly number[];
  readonly inputs: readonly number[];
  readonly gradients: readonly number[];
}

export class ElementwiseFunction {
  readonly #compiled = new Map<string, Compiled>();
  readonly #gradients = new Map<string, Gradient>();
  #ofFloats: Compiled | undefined;

  /**
   * An expression of each result, of the elements x0, x1, ... of `inputs` tensors and the numbers c0, c1, ... of a call;
   * `name` opens messages.
   */
  constructor(
    readonly name: string,
    readonly inputs: number,
    readonly results: readonly Expression[],
  ) {}

  /**
   * For inputs and numbers of these kinds. Results are of one kind, or, if it is left out, integers where they are that
   * throughout.
   */
  compiled(inputs: readonly Kind[], numbers: readonly Kind[], results: Kind | undefined): Compiled {
    const key = `${inputs} ${numbers} ${results}`;
    let compiled = this.#compiled.get(key);
    if (!compiled) {
      compiled = this.#compile(inputs, numbers, results);
      this.#compiled.set(key, compiled);
    }
    return compiled;
  }

  /** With respect to the inputs `wanted`, of a loss that depends on these results. */
  gradient(wanted: readonly number[], results: readonly number[]): Gradient {
    const key = `${wanted};${results}`;
    let gradient = this.#gradients.get(key);
    if (!gradient) {
      gradient = this.#differentiate(wanted, results);
      this.#gradients.set(key, gradient);
    }
    return gradient;
  }

  #differentiate(wanted: readonly number[], results: readonly number[]): Gradient {
    const all = wanted.map((at) => ({
      at,
      expression: gradientOf(
        results.map((result) => this.results[result] as Expression),
        results.map((result) => element(this.inputs + result)),
        `x${at}`,
      ),
    }));
    const found = all.filter(({ expression }) => constantOf(expression) !== 0);
    const names = [...new Set(found.flatMap(({ expression }) => [...inputsOf(expression)]))];
    const used = names.flatMap((name) => (name[0] === 'x' ? [Number(name.slice(1))] : [])).sort((a, b) => a - b);
    const renumbered = Object.fromEntries(used.map((from, to) => [`x${from}`, element(to)]));
    return {
      function: new ElementwiseFunction(
        `the derivative of ${this.name}`,
        used.length,
        found.map(({ expression }) => substitute(expression, renumbered)),
      ),
      wanted: found.map(({ at }) => at),
      inputs: used.filter((at) => at < this.inputs),
      gradients: used.flatMap((at) => (at < this.inputs ? [] : [at - this.inputs])),
    };
  }

  /** For floats alone. */
  get ofFloats(): Compiled {
    this.#ofFloats ??= this.#compile(new Array(this.inputs).fill('float'), [], 'float');
    return this.#ofFloats;
  }

  #compile(inputs: readonly Kind[], numbers: readonly Kind[], kind: Kind | undefined): Compiled {
    const kindOf = (name: InputName) => (name[0] === 'x' ? inputs : numbers)[Number(name.slice(1))] as Kind;
    const names = [...inputs.map((_, at) => `x${at}` as const), ...numbers.map((_, at) => `c${at}` as const)];
    const given: Inputs = {
      box: Object.fromEntries(
        names.map((name) => [name, kindOf(name) === 'float' ? anyScore : anyInteger]),
      ) as unknown as Inputs['box'],
      valueOf(name) {
        const [type, place] = [kindOf(name), Number(name.slice(1))];
        if (name[0] === 'x') return { type, dimensions: LANES, place };
        return emit(type === 'float' ? 'number' : 'integer number', type, [], place);
      },
      wraps: true,
    };
    const results = typedValues(this.name, this.results, given, kind);
    const program = assemble(this.name, results, LAYOUT);
    const work = orderOf(...results).reduce(
      (sum, { instruction }) => sum + (SLOW.test(instruction?.name ?? '') ? 1 : 0.25),
      0,
    );
    return { results, program, work };
  }
}

/** A function of one element, and the numbers that it captured: what `elementwise` makes. */
export class Elementwise {
  constructor(
    readonly fn: ElementwiseFunction,
    readonly numbers: readonly number[],
  ) {}

  /** For floats. */
  get compiled(): Compiled {
    return this.fn.compiled(
      ['float'],
      this.numbers.map(() => 'float'),
      'float',
    );
  }
}

/** The element of input `at`. */
export const element = (at: number): Expression => input(`x${at}`);

/** What `make` gives, made when it is first asked for: rooms import one another, so not while they load. */
export function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
