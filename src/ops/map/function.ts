/** Functions of the elements of tensors, and what kernels need of them. */
import { gradientOf, lookupGradients } from '../../expressions/differentiate';
import {
  apply,
  constant,
  constantOf,
  type Expression,
  type InputName,
  input,
  substitute,
} from '../../expressions/expression';
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

const SLOW = /^(exp|log|tanh|cos|sin|expm1|log1p|sigmoid|sigmoidSlope|softplus|erf|normalCdf|power|remainder)$/;

/** A function of some inputs and captured tensors of another, and of gradients with respect to its results. */
export interface Derived {
  readonly function: ElementwiseFunction;
  readonly inputs: readonly number[];
  readonly gradients: readonly number[];
  readonly tensors: readonly number[];
}

/** The gradients with respect to some inputs and captured tensors. */
export interface Gradient {
  /** Those of the inputs `wanted` whose gradients are not zero. */
  readonly elements: Derived;
  readonly wanted: readonly number[];
  /**
   * For each place where a captured tensor is looked up, which element, and what is to be added to its gradient. The first
   * number of `index` is the size of the tensor, which an index outside becomes; those of the function follow.
   */
  readonly lookups: readonly { readonly tensor: number; readonly index: Derived; readonly term: Derived }[];
}

export class ElementwiseFunction {
  readonly #compiled = new Map<string, Compiled>();
  readonly #gradients = new Map<string, Gradient>();
  #ofFloats: Compiled | undefined;

  /**
   * An expression of each result, of the elements x0, x1, ... of `inputs` tensors, and of the numbers c0, c1, ... and the
   * captured tensors t0, t1, ... of a call, which are called `tensors`; `name` opens messages.
   */
  constructor(
    readonly name: string,
    readonly inputs: number,
    readonly results: readonly Expression[],
    readonly tensors: readonly string[] = [],
  ) {}

  /**
   * For inputs, numbers and captured tensors of these kinds. Results are of one kind, or, if it is left out, integers where
   * they are that throughout.
   */
  compiled(
    inputs: readonly Kind[],
    numbers: readonly Kind[],
    results: Kind | undefined,
    tensors: readonly Kind[] = [],
  ): Compiled {
    const key = `${inputs} ${numbers} ${results} ${tensors}`;
    let compiled = this.#compiled.get(key);
    if (!compiled) {
      compiled = this.#compile({ x: inputs, c: numbers, t: tensors }, results);
      this.#compiled.set(key, compiled);
    }
    return compiled;
  }

  /** With respect to these inputs and captured tensors, of a loss that depends on these results. */
  gradient(inputs: readonly number[], results: readonly number[], tensors: readonly number[]): Gradient {
    const key = `${inputs};${results};${tensors}`;
    let gradient = this.#gradients.get(key);
    if (!gradient) {
      gradient = this.#differentiate(inputs, results, tensors);
      this.#gradients.set(key, gradient);
    }
    return gradient;
  }

  #differentiate(wanted: readonly number[], results: readonly number[], tensors: readonly number[]): Gradient {
    const expressions = results.map((result) => this.results[result] as Expression);
    const gradients = results.map((result) => element(this.inputs + result));
    const all = wanted.map((at) => ({ at, expression: gradientOf(expressions, gradients, `x${at}`) }));
    const found = all.filter(({ expression }) => constantOf(expression) !== 0);
    // An index has the shape of the results if it is also given a gradient with respect to one.
    const shapedLike = this.inputs + (results[0] as number);
    return {
      elements: this.#derived(found.map(({ expression }) => expression)),
      wanted: found.map(({ at }) => at),
      lookups: tensors.flatMap((tensor) =>
        lookupGradients(expressions, gradients, `t${tensor}`).map(({ index, term }) => ({
          tensor,
          index: this.#derived([within(index)], [shapedLike]),
          term: this.#derived([term]),
        })),
      ),
    };
  }

  /** These expressions as a function of what they use, and of the elements `besides`. */
  #derived(expressions: readonly Expression[], besides: readonly number[] = []): Derived {
    const names = [...new Set(expressions.flatMap((expression) => [...inputsOf(expression)]))];
    const usedOf = (letter: string) => names.flatMap((name) => (name[0] === letter ? [Number(name.slice(1))] : []));
    const inOrder = (places: readonly number[]) => [...new Set(places)].sort((a, b) => a - b);
    const used = inOrder([...usedOf('x'), ...besides]);
    const tensors = inOrder(usedOf('t'));
    const renumbered = Object.fromEntries([
      ...used.map((from, to) => [`x${from}`, element(to)]),
      ...tensors.map((from, to) => [`t${from}`, input(`t${to}`)]),
    ]);
    return {
      function: new ElementwiseFunction(
        `the derivative of ${this.name}`,
        used.length,
        expressions.map((expression) => substitute(expression, renumbered)),
        tensors.map((at) => this.tensors[at] as string),
      ),
      inputs: used.filter((at) => at < this.inputs),
      gradients: used.flatMap((at) => (at < this.inputs ? [] : [at - this.inputs])),
      tensors,
    };
  }

  /** For floats alone. */
  get ofFloats(): Compiled {
    this.#ofFloats ??= this.#compile({ x: new Array(this.inputs).fill('float'), c: [], t: [] }, 'float');
    return this.#ofFloats;
  }

  #compile(kinds: Readonly<Record<'x' | 'c' | 't', readonly Kind[]>>, kind: Kind | undefined): Compiled {
    const kindOf = (name: InputName) => kinds[name[0] as 'x' | 'c' | 't'][Number(name.slice(1))] as Kind;
    const names = (['x', 'c', 't'] as const).flatMap((letter) =>
      kinds[letter].map((_, at) => `${letter}${at}` as const),
    );
    const given: Inputs = {
      box: Object.fromEntries(
        names.map((name) => [name, kindOf(name) === 'float' ? anyScore : anyInteger]),
      ) as unknown as Inputs['box'],
      valueOf(name) {
        const [type, place] = [kindOf(name), Number(name.slice(1))];
        if (name[0] === 'c') return emit(type === 'float' ? 'number' : 'integer number', type, [], place);
        return { type, dimensions: LANES, place };
      },
      tensors: this.tensors,
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

/** The index, or c0 where it is not within c0 elements; its own numbers are c1, c2, ... */
function within(index: Expression): Expression {
  const numbers = [...inputsOf(index)].filter((name) => name[0] === 'c');
  const moved = Object.fromEntries(numbers.map((name) => [name, input(`c${Number(name.slice(1)) + 1}`)]));
  const at = apply('bitOr', substitute(index, moved), constant(0));
  const size = input('c0');
  return apply('select', apply('and', apply('lessOrEqual', constant(0), at), apply('less', at, size)), at, size);
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
