/**
 * Compiles a function to an expression from its source.
 *
 * JavaScript cannot overload operators, so a function can only be compiled as it is written: one expression, or `const`
 * declarations and `if (...) return ...;` before a last `return`. It can use its parameters, captured values,
 * the functions of words.ts and `Math`, and nothing from the scope where it was written.
 */

import type * as js from 'acorn';
import { type Node, type Options, parseExpressionAt } from 'acorn';
import { getOrMake } from '../bounded-map';
import { isRecord, pathName, show } from '../check';
import { ParameterError } from '../errors';
import { Tensor } from '../tensor/tensor';
import { exactNumbers } from './exact';
import {
  apply,
  constant,
  constantOf,
  type Expression,
  type InputName,
  input,
  read,
  substitute,
  type Table,
  tableOf,
} from './expression';
import type { Operation } from './operations';
import { WORDS } from './words';

/** What a function may capture: scalars, flat arrays, tensors, and objects of those, such as `data` and `shape`. */
export type Captured = Readonly<Record<string, unknown>>;

/** The captured values as the function sees them: elements of tensors are read by index. */
export type CapturedValues<C> = { readonly [Name in keyof C]: CapturedValue<C[Name]> };
type CapturedValue<V> = V extends Tensor
  ? V & { readonly [index: number]: number }
  : V extends object
    ? CapturedValues<V>
    : V;

export interface Signature {
  /** The function that was called, such as `masks.from`: all messages begin with it. */
  readonly caller: string;
  /** The parameters before the captured one. */
  readonly parameters: readonly InputName[];
  readonly returns: 'number' | 'boolean';
  /** Whether captured numbers and tensors are inputs, c0, c1, ... and t0, t1, .... */
  readonly hasInputs?: boolean;
  /** Whether it is a function of elements, which may have several results. */
  readonly isMap?: boolean;
}

/** What a function computes: one expression, or several in an array or object literal. */
export interface Parsed {
  readonly results: readonly Expression[];
  /** Whether it is one result or an array of them; for an object, the names of its results. */
  readonly form: 'one' | 'array' | readonly string[];
  /** The names of the parameters. */
  readonly parameters: readonly string[];
  /** The captured values it uses, in the order of use: numbers are c0, c1, ... and tensors t0, t1, .... */
  readonly reads: readonly Read[];
}

export interface Read {
  readonly path: readonly string[];
  /** Numbers and tensors belong to each call, everything else was compiled in: arrays by their elements. */
  readonly kind: 'number' | 'tensor' | 'array' | 'value';
  /** The dtype where it is a tensor. */
  readonly value: unknown;
}

/** A captured value that is not an expression yet, and its path among the captured values. */
class Outer {
  constructor(
    readonly value: unknown,
    readonly path: readonly string[],
    /** Whether it is a part of a tensor, such as its shape. */
    readonly isOfTensor = false,
  ) {}

  /** Its name in the function. */
  get name(): string {
    return pathName(this.path) || 'captured';
  }
}

/** Results in an array or object literal. */
class Several {
  constructor(
    readonly form: Parsed['form'],
    readonly results: readonly Expression[],
  ) {}
}

type Value = Expression | Outer | Several;
type Scope = ReadonlyMap<string, Value>;

const UNARY: Partial<Record<string, Operation>> = { '-': 'negative', '~': 'bitNot' };
const BINARY: Partial<Record<string, Operation>> = {
  '+': 'add',
  '-': 'subtract',
  '*': 'multiply',
  '/': 'divide',
  '%': 'remainder',
  '**': 'power',
  '&': 'bitAnd',
  '|': 'bitOr',
  '^': 'bitXor',
  '<<': 'shiftLeft',
  '>>': 'shiftRight',
  '>>>': 'shiftRightUnsigned',
  '<': 'less',
  '<=': 'lessOrEqual',
};

const SWAPPED: Partial<Record<string, Operation>> = { '>': 'less', '>=': 'lessOrEqual' };
const EQUALITY = ['===', '!==', '==', '!='];

// biome-ignore format: a list in two lines
const UNARY_FUNCTIONS = [
  'abs', 'floor', 'ceil', 'round', 'trunc', 'sign', 'sqrt',
  'exp', 'log', 'expm1', 'log1p', 'tanh', 'cos', 'sin',
] as const;
const FUNCTIONS: Partial<Record<string, { readonly operation: Operation; readonly arity: number }>> = {
  ...Object.fromEntries(UNARY_FUNCTIONS.map((operation) => [operation, { operation, arity: 1 }])),
  pow: { operation: 'power', arity: 2 },
  min: { operation: 'min', arity: Number.POSITIVE_INFINITY },
  max: { operation: 'max', arity: Number.POSITIVE_INFINITY },
};

/** Common syntax that cannot be compiled: its name, and the remedy. */
const SINGLE = 'write a single expression';
const REFUSED: Partial<Record<string, readonly [what: string, remedy: string]>> = {
  ForStatement: ["a 'for' loop", SINGLE],
  ForOfStatement: ["a 'for' loop", SINGLE],
  ForInStatement: ["a 'for' loop", SINGLE],
  WhileStatement: ["a 'while' loop", SINGLE],
  DoWhileStatement: ["a 'do' loop", SINGLE],
  SwitchStatement: ["a 'switch'", "write 'condition ? a : b'"],
  TryStatement: ["a 'try'", SINGLE],
  ThrowStatement: ["a 'throw'", SINGLE],
  ExpressionStatement: ['a statement without effect on the result', SINGLE],
  FunctionDeclaration: ['a function within the function', 'write it out'],
  FunctionExpression: ['a function within the function', 'write it out'],
  ArrowFunctionExpression: ['a function within the function', 'write it out'],
  AssignmentExpression: ['an assignment', "declare another 'const'"],
  UpdateExpression: ['an assignment', "declare another 'const'"],
  SequenceExpression: ['a comma', SINGLE],
  ThisExpression: ["'this'", 'pass what it holds as captured'],
  NewExpression: ["'new'", 'make it outside and pass it as captured'],
  TemplateLiteral: ['a string', 'use numbers'],
  ArrayExpression: ['an array', 'make it outside and pass it as captured'],
  ObjectExpression: ['an object', 'make it outside and pass it as captured'],
  ChainExpression: ["'?.'", "use '.' or '[...]'"],
  AwaitExpression: ["'await'", 'wait outside and pass the result as captured'],
};

/** The expression that `fn` computes; a ParameterError names what cannot be compiled, where, and the remedy. */
export function parse(fn: unknown, captured: Captured, signature: Signature): Expression {
  return parseAll(fn, captured, signature).results[0] as Expression;
}

/** All that `fn` computes. */
export function parseAll(fn: unknown, captured: Captured, signature: Signature): Parsed {
  return new Compiler(fn, captured, signature).compile();
}

/** A function's source on one line, of bounded length, as a name. */
export function sourceOf(fn: (...args: never) => unknown): string {
  const line = Function.prototype.toString.call(fn).replace(/\s+/g, ' ');
  return line.length <= LONGEST_NAME ? line : `${line.slice(0, LONGEST_NAME - 3)}...`;
}

const LONGEST_NAME = 120;

/** Expressions are walked by recursion. */
const DEEPEST = 500;

class Compiler {
  readonly #tables = new Map<unknown, Table>();
  readonly #reads = new Map<string, Read>();
  readonly #numbers = new Map<string, Expression>();
  readonly #tensors = new Map<string, Expression>();
  readonly #names: string[] = [];
  readonly #root: js.Expression;
  /** Columns of the first line before the function's own. */
  #shift = 1;
  #depth = 0;
  readonly #depths = new Map<Expression, number>();

  constructor(
    fn: unknown,
    readonly captured: Captured,
    readonly signature: Signature,
  ) {
    const { caller } = signature;
    if (typeof fn !== 'function') throw new ParameterError(`${caller} takes a function, got ${show(fn)}`);
    if (!isRecord(captured)) {
      throw new ParameterError(
        `${caller}: captured must be an object of what the function uses, such as { w }, got ${show(captured)}`,
      );
    }
    const source = Function.prototype.toString.call(fn);
    if (/\{\s*\[native code\]\s*\}\s*$/.test(source)) {
      throw new ParameterError(
        `${caller}: ${fn.name || 'the function'} is native or bound and has no source to compile: pass an arrow function`,
      );
    }
    this.#root = this.#read(source);
  }

  compile(): Parsed {
    const { returns } = this.signature;
    const fn = this.#root;
    if (fn.type !== 'ArrowFunctionExpression' && fn.type !== 'FunctionExpression') {
      throw this.#refusal(fn, fn.type === 'ClassExpression' ? 'a class' : 'this', 'pass an arrow function');
    }
    if (fn.async) throw this.#refusal(fn, 'an async function', 'wait outside and pass the result as captured');
    if (fn.generator) throw this.#refusal(fn, 'a generator', 'pass an arrow function');
    const scope = this.#parameters(fn.params);
    const value =
      fn.body.type === 'BlockStatement' ? this.#block(fn.body.body, scope, fn.body) : this.#visit(fn.body, scope);
    // If the result is a captured value, that it is read is noted only here.
    const scalar = value instanceof Several ? undefined : this.#scalar(value, fn.body);
    const results = scalar ? [this.signature.isMap ? asNumber(scalar) : scalar] : (value as Several).results;
    const [result] = results as [Expression];
    const form = value instanceof Several ? value.form : 'one';
    if (form !== 'one' || result.kind === returns)
      return { parameters: this.#names, ...this.#withValues(results), form };
    const remedy =
      returns === 'boolean' ? "compare it, e.g. 'x !== 0'" : "choose by it, e.g. 'condition ? score : -Infinity'";
    throw new ParameterError(
      `${this.signature.caller}: the function must return a ${returns}, it returns a ${result.kind}: ${remedy}`,
    );
  }

  /** In functions of pairs, numbers that must be exact become constants. */
  #withValues(results: readonly Expression[]): Pick<Parsed, 'results' | 'reads'> {
    const exact: ReadonlySet<InputName> = this.signature.isMap ? new Set() : exactNumbers(results);
    const replacements: Partial<Record<InputName, Expression>> = {};
    let inputs = 0;
    for (const [called, found] of this.#numbers) {
      const { name } = found as { name: InputName };
      const { path, value } = this.#reads.get(called) as Read & { readonly value: number };
      if (exact.has(name)) this.#note(path, 'value', value);
      replacements[name] = exact.has(name) ? constant(value) : input(`c${inputs++}`);
    }
    return {
      results: exact.size > 0 ? results.map((result) => substitute(result, replacements)) : results,
      reads: [...this.#reads.values()],
    };
  }

  /** The function as an expression: in parentheses or, for shorthand methods, as a method of an object. */
  #read(source: string): js.Expression {
    const options: Options = { ecmaVersion: 'latest', locations: true };
    try {
      return parseExpressionAt(`(${source}\n)`, 0, options);
    } catch (error) {
      try {
        const object = parseExpressionAt(`({${source}\n})`, 0, options) as js.ObjectExpression;
        this.#shift = 2;
        return (object.properties[0] as js.Property).value;
      } catch {
        throw new ParameterError(
          `${this.signature.caller}: the function's source cannot be parsed: ${(error as Error).message}`,
        );
      }
    }
  }

  #parameters(params: readonly js.Pattern[]): Scope {
    const { parameters } = this.signature;
    const scope = new Map<string, Value>();
    params.forEach((param, at) => {
      if (at < parameters.length) {
        const isPlain = param.type === 'Identifier' && param.name !== '__proto__' && !scope.has(param.name);
        if (!isPlain) throw this.#refusal(param, 'this parameter', 'give it a plain name of its own');
        scope.set(param.name, input(parameters[at] as InputName));
        this.#names.push(param.name);
      } else if (at === parameters.length) this.#bind(param, new Outer(this.captured, []), scope);
      else throw this.#refusal(param, 'this parameter', `the function is given ${parameters.join(', ')} and captured`);
    });
    return scope;
  }

  /** Declares the names of a pattern. */
  #bind(pattern: js.Pattern, value: Value, scope: Map<string, Value>): void {
    if (pattern.type === 'Identifier') scope.set(pattern.name, value);
    else if (pattern.type === 'ObjectPattern' && value instanceof Outer) {
      for (const property of pattern.properties) {
        if (property.type !== 'Property' || property.computed || property.key.type !== 'Identifier') {
          throw this.#refusal(property, 'this pattern', 'name each property');
        }
        this.#bind(property.value, this.#property(value, property.key.name, property), scope);
      }
    } else throw this.#refusal(pattern, 'this pattern', 'name each property and give no defaults');
  }

  /** The value of statements that end in a `return`. */
  #block(statements: readonly js.Statement[], outer: Scope, block: Node): Value {
    // Each 'if' is one level deeper: what follows it is the other branch.
    if (++this.#depth > DEEPEST) throw this.#tooDeep(block);
    const value = this.#statements(statements, outer, block);
    this.#depth--;
    return value;
  }

  #statements(statements: readonly js.Statement[], outer: Scope, block: Node): Value {
    const scope = new Map(outer);
    for (const [at, statement] of statements.entries()) {
      if (statement.type === 'VariableDeclaration') {
        for (const { id, init } of statement.declarations) {
          if (!init) throw this.#refusal(id, 'a variable without a value', "declare a 'const'");
          this.#bind(id, this.#visit(init, scope), scope);
        }
      } else if (statement.type === 'ReturnStatement') {
        if (!statement.argument) throw this.#refusal(statement, "a 'return' without a value", 'return one');
        return this.#visit(statement.argument, scope);
      } else if (statement.type === 'IfStatement') {
        const rest = statements.slice(at + 1);
        if (statement.alternate && rest.length > 0) {
          throw this.#refusal(rest[0] as Node, "a statement after an 'else'", "leave out the 'else'");
        }
        return this.#choose(
          statement,
          this.#truth(statement.test, scope),
          this.#block(bodyOf(statement.consequent), scope, statement.consequent),
          this.#block(
            statement.alternate ? bodyOf(statement.alternate) : rest,
            scope,
            statement.alternate ?? statement,
          ),
        );
      } else if (statement.type !== 'EmptyStatement' && !('directive' in statement)) throw this.#unknown(statement);
    }
    throw this.#refusal(block, "a branch without a 'return'", 'return a value from each');
  }

  #visit(node: js.Expression | js.PrivateIdentifier | js.Super, scope: Scope): Value {
    this.#depth++;
    // The depth of the source and, through earlier declarations, of the expression.
    const value = this.#depth > DEEPEST ? undefined : this.#visitKind(node, scope);
    this.#depth--;
    const expressions = value instanceof Several ? value.results : value && !(value instanceof Outer) ? [value] : [];
    if (value && expressions.every((each) => this.#depthOf(each) <= DEEPEST)) return value;
    throw this.#tooDeep(node);
  }

  #tooDeep(node: Node): ParameterError {
    const remedy = 'compute a part of it outside and pass that as captured';
    return this.#refusal(node, `an expression of more than ${DEEPEST} levels or terms`, remedy);
  }

  #depthOf(expression: Expression): number {
    return getOrMake(
      this.#depths,
      expression,
      () => 1 + Math.max(0, ...expression.args.map((arg) => this.#depthOf(arg))),
    );
  }

  #visitKind(node: js.Expression | js.PrivateIdentifier | js.Super, scope: Scope): Value {
    switch (node.type) {
      case 'Literal':
        if (typeof node.value === 'number' || typeof node.value === 'boolean') return constant(node.value);
        throw this.#refusal(node, `a ${node.value === null ? 'null' : typeof node.value}`, 'use numbers and booleans');
      case 'Identifier':
        return this.#name(node, scope);
      case 'MemberExpression':
        return this.#member(node, scope);
      case 'CallExpression':
        return this.#call(node, scope);
      case 'UnaryExpression':
        return this.#unary(node, scope);
      case 'BinaryExpression':
        return this.#binary(node, scope);
      case 'LogicalExpression':
        return this.#logical(node, scope);
      case 'ConditionalExpression':
        return this.#choose(
          node,
          this.#truth(node.test, scope),
          this.#visit(node.consequent, scope),
          this.#visit(node.alternate, scope),
        );
      case 'ArrayExpression':
      case 'ObjectExpression':
        if (this.signature.isMap) return this.#several(node, scope);
        throw this.#unknown(node);
      default:
        throw this.#unknown(node);
    }
  }

  #several(node: js.ArrayExpression | js.ObjectExpression, scope: Scope): Several {
    if (node.type === 'ArrayExpression') {
      const results = node.elements.map((each) => {
        if (!each || each.type === 'SpreadElement') throw this.#refusal(each ?? node, 'this array', 'name each result');
        return this.#number(each, scope);
      });
      if (results.length > 0) return new Several('array', results);
    } else {
      const entries = node.properties.map((property) => {
        const isPlain =
          property.type === 'Property' && !property.computed && property.kind === 'init' && !property.method;
        if (!isPlain) throw this.#refusal(property, 'this property', 'name each result');
        const { key } = property;
        const name = key.type === 'Identifier' ? key.name : String((key as js.Literal).value);
        return [name, this.#number(property.value, scope)] as const;
      });
      const names = entries.map(([name]) => name);
      if (names.length > 0 && new Set(names).size === names.length)
        return new Several(
          names,
          entries.map(([, result]) => result),
        );
    }
    throw this.#refusal(node, 'a result without elements, or with one twice,', 'name each result once');
  }

  #name(node: js.Identifier, scope: Scope): Value {
    const value = scope.get(node.name);
    if (value) return value;
    if (node.name === 'Infinity' || node.name === 'NaN') return constant(Number(node.name));
    const { caller } = this.signature;
    throw new ParameterError(
      `${caller}: '${node.name}' at ${this.#place(node)} is not a parameter: pass it as captured, ${caller}(fn, { ${node.name} })`,
    );
  }

  #member(node: js.MemberExpression, scope: Scope): Value {
    const { object, property } = node;
    if (node.optional) throw this.#refusal(node, "'?.'", "use '.' or '[...]'");
    if (!node.computed && isMath(object, scope)) {
      const value = Math[(property as js.Identifier).name as 'PI'] as unknown;
      if (typeof value === 'number') return constant(value);
      throw this.#refusal(node, `Math.${(property as js.Identifier).name}`, 'call a function that is known');
    }
    const array = this.#visit(object, scope);
    if (array instanceof Several) throw this.#unknown(object);
    if (!(array instanceof Outer)) throw this.#refusal(node, 'a property of a number', 'use numbers as they are');
    if (!node.computed) return this.#property(array, (property as js.Identifier).name, node);
    if (property.type === 'Literal' && typeof property.value === 'string') {
      return this.#property(array, property.value, node);
    }
    return this.#element(array, this.#number(property, scope), node);
  }

  /** A named property of a captured value; n and m exist unless the caller captured others by these names. */
  #property(outer: Outer, name: string, node: Node): Value {
    const { value, path, isOfTensor } = outer;
    const inner = Object(value)[name];
    const inside = [...path, name];
    if (inner !== undefined) return new Outer(inner, inside, isOfTensor || value instanceof Tensor);
    if (path.length === 0 && !this.signature.isMap && (name === 'n' || name === 'm')) {
      this.#note(inside, 'value', undefined);
      return input(name);
    }
    if (path.length === 0 && Object.hasOwn(WORDS, name)) {
      this.#note(inside, 'value', undefined);
      return new Outer(WORDS[name as keyof typeof WORDS], inside);
    }
    throw this.#refusal(node, `${outer.name} without '${name}'`, `pass it, { ${name} }`);
  }

  #element(array: Outer, index: Expression, node: Node): Value {
    const { isMap, hasInputs } = this.signature;
    if (isMap || (hasInputs && (array.isOfTensor || array.value instanceof Tensor)))
      return this.#elementOfInput(array, index, node);
    const table = this.#table(array, node);
    // Even at a constant index, since the derivative by that element may be needed.
    const element = read(table, index);
    return isBoolean((array.value as readonly unknown[])[0]) ? apply('equal', element, constant(1)) : element;
  }

  #elementOfInput(outer: Outer, index: Expression, node: Node): Value {
    const { value, path, name } = outer;
    if (!(value instanceof Tensor)) {
      const at = constantOf(index);
      if (at !== undefined) return this.#property(outer, `${at}`, node);
      throw this.#refusal(node, `an element of '${name}', which is no tensor,`, 'capture a tensor');
    }
    const tensor = getOrMake(this.#tensors, name, () => input(`t${this.#tensors.size}`));
    this.#note(path, 'tensor', value.dtype);
    const found = apply('lookup', tensor, index);
    // From integer tensors the kernels read 0 where the index is outside.
    return value.dtype === 'i32' ? apply('bitOr', found, constant(0)) : found;
  }

  #table({ value, path, name }: Outer, node: Node): Table {
    const found = this.#tables.get(value);
    if (found) return found;
    const isArray = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
    if (!isArray) throw this.#refusal(node, `an element of '${name}', which is no array,`, 'pass a flat array');
    const elements = value as ArrayLike<unknown>;
    const kind = typeof elements[0];
    // All elements of a typed array have the same type.
    const unlike = Array.isArray(value) ? elements.length : Math.min(1, elements.length);
    for (let i = 0; i < unlike; i++) {
      const type = typeof elements[i];
      if (type === kind && (type === 'number' || type === 'boolean')) continue;
      const remedy = type === 'object' ? 'flatten it' : type === 'bigint' ? 'convert it to numbers' : 'pass numbers';
      throw this.#refusal(node, `'${name}', whose element ${i} is no ${kind === 'boolean' ? kind : 'number'},`, remedy);
    }
    this.#note(path, 'array', value);
    const table = tableOf(name, elements as ArrayLike<number | boolean>);
    this.#tables.set(value, table);
    return table;
  }

  #call(node: js.CallExpression, scope: Scope): Expression {
    const { callee } = node;
    const word = this.#wordOf(callee, scope);
    if (word) {
      const [argument, ...more] = node.arguments;
      if (!argument || argument.type === 'SpreadElement' || more.length > 0)
        throw this.#refusal(node, `a word of ${node.arguments.length}`, 'pass 1');
      return word(this.#number(argument, scope));
    }
    const known = Object.keys(FUNCTIONS).join(', ');
    if (callee.type !== 'MemberExpression' || callee.computed || !isMath(callee.object, scope)) {
      const name = callee.type === 'Identifier' ? ` of '${callee.name}'` : '';
      throw this.#refusal(node, `a call${name}`, `write it out; only Math's ${known} can be called`);
    }
    const { name } = callee.property as js.Identifier;
    const definition = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    if (!definition) throw this.#refusal(node, `Math.${name}`, `use Math's ${known}`);
    const { operation, arity } = definition;
    const many = arity === Number.POSITIVE_INFINITY;
    if (node.arguments.length === 0 || (!many && node.arguments.length !== arity)) {
      throw this.#refusal(node, `Math.${name} of ${node.arguments.length}`, `pass ${many ? 'at least 1' : arity}`);
    }
    const args = node.arguments.map((argument) => {
      if (argument.type === 'SpreadElement') throw this.#refusal(argument, "'...'", 'name each argument');
      return this.#number(argument, scope);
    });
    return many ? args.reduce((a, b) => apply(operation, a, b)) : apply(operation, ...args);
  }

  /** The called function if it is one of `WORDS`. */
  #wordOf(callee: js.CallExpression['callee'], scope: Scope): ((x: Expression) => Expression) | undefined {
    const isOuter =
      (callee.type === 'Identifier' && scope.get(callee.name) instanceof Outer) ||
      (callee.type === 'MemberExpression' && !callee.computed && !isMath(callee.object, scope));
    const value = isOuter ? this.#visit(callee, scope) : undefined;
    const words: readonly unknown[] = Object.values(WORDS);
    return value instanceof Outer && words.includes(value.value) ? (value.value as typeof WORDS.relu) : undefined;
  }

  #unary(node: js.UnaryExpression, scope: Scope): Expression {
    if (node.operator === '!') return apply('not', this.#truth(node.argument, scope));
    if (node.operator === '+') return this.#number(node.argument, scope);
    const operation = UNARY[node.operator];
    if (!operation) throw this.#refusal(node, `'${node.operator}'`, 'use numbers and booleans');
    return apply(operation, this.#number(node.argument, scope));
  }

  #binary(node: js.BinaryExpression, scope: Scope): Expression {
    const { operator } = node;
    if (EQUALITY.includes(operator)) {
      const [a, b] = [node.left, node.right].map((side) => this.#scalar(this.#visit(side, scope), side));
      const strict = operator.length === 3;
      if (strict && a?.kind !== b?.kind) {
        throw this.#refusal(node, `'${operator}' of a ${a?.kind} and a ${b?.kind}`, 'compare equal kinds');
      }
      const equal = apply('equal', asNumber(a as Expression), asNumber(b as Expression));
      return operator.startsWith('!') ? apply('not', equal) : equal;
    }
    const swapped = SWAPPED[operator];
    const operation = swapped ?? BINARY[operator];
    if (!operation) throw this.#refusal(node, `'${operator}'`, 'use numbers and booleans');
    const [a, b] = [this.#number(node.left, scope), this.#number(node.right, scope)];
    return swapped ? apply(operation, b, a) : apply(operation, a, b);
  }

  #logical(node: js.LogicalExpression, scope: Scope): Expression {
    const { operator } = node;
    if (operator === '??') throw this.#refusal(node, "'??'", "write 'condition ? a : b'");
    const a = this.#scalar(this.#visit(node.left, scope), node.left);
    const b = this.#scalar(this.#visit(node.right, scope), node.right);
    if (a.kind !== b.kind) {
      throw this.#refusal(node, `'${operator}' of a ${a.kind} and a ${b.kind}`, "compare the number, e.g. 'x !== 0'");
    }
    if (a.kind === 'boolean') return apply(operator === '&&' ? 'and' : 'or', a, b);
    return operator === '&&' ? apply('select', truthOf(a), b, a) : apply('select', truthOf(a), a, b);
  }

  #choose(node: Node, condition: Expression, yes: Value, no: Value): Value {
    if (yes instanceof Several && no instanceof Several && `${yes.form}` === `${no.form}`) {
      const pairs = yes.results.map((result, at) => [result, no.results[at]] as const);
      if (yes.results.length === no.results.length)
        return new Several(
          yes.form,
          pairs.map(([a, b]) => apply('select', condition, a, b as Expression)),
        );
    }
    const [a, b] = [this.#scalar(yes, node), this.#scalar(no, node)];
    if (a.kind !== b.kind) {
      throw this.#refusal(node, `a choice between a ${a.kind} and a ${b.kind}`, 'make both of one kind');
    }
    return apply('select', condition, a, b);
  }

  /** Whether it is true in JavaScript. */
  #truth(node: js.Expression, scope: Scope): Expression {
    if (node.type === 'LogicalExpression' && node.operator !== '??') {
      const operation = node.operator === '&&' ? 'and' : 'or';
      return apply(operation, this.#truth(node.left, scope), this.#truth(node.right, scope));
    }
    return truthOf(this.#scalar(this.#visit(node, scope), node));
  }

  #number(node: js.Expression | js.PrivateIdentifier, scope: Scope): Expression {
    return asNumber(this.#scalar(this.#visit(node, scope), node));
  }

  #scalar(value: Value, node: Node): Expression {
    if (value instanceof Several) throw this.#unknown(node);
    if (!(value instanceof Outer)) return value;
    const { value: inner, path, name } = value;
    if (typeof inner === 'number' && this.signature.hasInputs && !value.isOfTensor)
      return this.#capturedNumber(inner, value);
    if (typeof inner === 'number' || typeof inner === 'boolean') {
      this.#note(path, 'value', inner);
      return constant(inner);
    }
    const array = Array.isArray(inner) || ArrayBuffer.isView(inner);
    const what = array ? 'an array' : typeof inner === 'object' ? 'an object' : `a ${typeof inner}`;
    const remedy = array ? 'index it' : 'capture numbers, booleans and flat arrays';
    throw this.#refusal(node, `'${name}', which is ${what},`, remedy);
  }

  #capturedNumber(value: number, { path, name }: Outer): Expression {
    this.#note(path, 'number', value);
    return getOrMake(this.#numbers, name, () => input(`c${this.#numbers.size}`));
  }

  #note(path: readonly string[], kind: Read['kind'], value: unknown): void {
    this.#reads.set(pathName(path), { path, kind, value });
  }

  #unknown(node: Node): ParameterError {
    const [what, remedy] = REFUSED[node.type] ?? [`a ${node.type}`, SINGLE];
    return this.#refusal(node, what, remedy);
  }

  #refusal(node: Node, what: string, remedy: string): ParameterError {
    return new ParameterError(
      `${this.signature.caller}: ${what} at ${this.#place(node)} cannot be compiled: ${remedy}`,
    );
  }

  /** Line and column within the function, both from 1. */
  #place({ loc }: Node): string {
    const { line, column } = (loc as js.SourceLocation).start;
    return `${line}:${column + 1 - (line === 1 ? this.#shift : 0)}`;
  }
}

function bodyOf(statement: js.Statement): readonly js.Statement[] {
  return statement.type === 'BlockStatement' ? statement.body : [statement];
}

function isMath(node: Node, scope: Scope): boolean {
  return node.type === 'Identifier' && (node as js.Identifier).name === 'Math' && !scope.has('Math');
}

function isBoolean(value: unknown): value is boolean {
  return typeof value === 'boolean';
}

function asNumber(x: Expression): Expression {
  return x.kind === 'number' ? x : apply('select', x, constant(1), constant(0));
}

/** A number is true unless it is 0 or NaN. */
function truthOf(x: Expression): Expression {
  if (x.kind === 'boolean') return x;
  return apply('or', apply('less', x, constant(0)), apply('less', constant(0), x));
}
