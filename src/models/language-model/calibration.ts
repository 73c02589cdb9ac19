/** Thresholds of a method by layer and head, found on a text, kept beside a model, and used where its params leave them out. */
import { is } from 'valibot';
import { checkArray, checkNumber, checkOptions, checkRecord, isRecord, partName, show } from '../../check';
import { ParameterError, ParseError, UnsupportedError } from '../../errors';
import type { Calibration } from '../../methods/calibration';
import { checkMethod, type Method } from '../../methods/define';
import { exactAttention } from '../../methods/dense/attention';
import { attention } from '../../ops/attention';
import { checkControl } from '../../ops/check';
import { map } from '../../ops/map/map';
import { sum } from '../../ops/reduce';
import type { Control } from '../../runtime/backend';
import type { Tensor } from '../../tensor/tensor';
import type { Weights } from '../../weights/weights';
import { createDecoder, type DecoderAttention, type DecoderConfig, type LayerAttention } from '../decoder';
import { LanguageModel } from './language-model';

export interface CalibrateOptions extends Control {
  /** The method's params beside what is found. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  /** The sum of absolute differences from exact attention that a head may have for each token; default: the method's. */
  readonly error?: number | undefined;
}

/** What was found, of a model that `Weights.identity` names. */
export interface CalibrationFile {
  readonly format: 'saccade calibration';
  readonly version: 1;
  readonly method: string;
  readonly model: string;
  readonly error: number;
  /** Tokens of the text. */
  readonly tokens: number;
  /** The params of each layer: those that were given, and what was found. */
  readonly layers: readonly Readonly<Record<string, unknown>>[];
}

export const calibrationName = (method: string) => `${method}.calibration.json`;

/**
 * The params of each layer with which a method is near enough to exact attention on a text, which is taken in pieces of the
 * model's context: each head begins with the method's first value, which is halved while the sum of absolute differences of its
 * results is `error` times the tokens or more.
 *
 * @throws {ParameterError} a method without a calibration, a text so short that the method leaves nothing out
 */
export async function calibrate(
  model: LanguageModel,
  method: Method,
  text: string | readonly number[],
  options: CalibrateOptions = {},
): Promise<Pick<CalibrationFile, 'error' | 'tokens' | 'layers'>> {
  if (!(model instanceof LanguageModel))
    throw new ParameterError(`model must be made by loadDecoder or languageModel, got ${show(model)}`);
  checkMethod('method', method);
  checkOptions('calibrate', options, ['params', 'error', 'signal', 'onProgress']);
  checkControl(options);
  if (typeof text !== 'string') checkArray('text', text);
  if (options.params !== undefined) checkRecord('params', options.params);
  const { calibration } = method;
  if (!calibration) throw new UnsupportedError(`${method.name} has nothing to calibrate`);
  const { params = {}, error = calibration.error, signal, onProgress } = options;
  checkNumber('error', error, 'a positive number', (value) => value > 0 && value < Number.POSITIVE_INFINITY);
  method.parse({ ...params, [calibration.param]: calibration.start } as never);
  const { runtime, decoder, parameters, context } = model;
  const tokens = text.length === 0 ? [] : model.tokensOf(text);
  const pieces = Math.ceil(tokens.length / context);
  const found: number[][] = [];
  let isApart = false;
  for (let piece = 0; piece < pieces; piece++) {
    const own = tokens.slice(piece * context, (piece + 1) * context);
    for (let layer = 0; layer < decoder.layers; layer++) {
      signal?.throwIfAborted();
      const inputs = runtime.scope(() => {
        const row = runtime.tensor([...own], [1, own.length], 'i32');
        return decoder.attentionInputs(parameters, row, layer, { signal });
      });
      try {
        found[layer] ??= new Array((inputs[calibration.heads].shape as number[])[2] as number).fill(calibration.start);
        const head = { method, calibration, params, limit: error * own.length };
        if (await narrow(inputs, head, found[layer] as number[])) isApart = true;
      } finally {
        for (const tensor of Object.values(inputs)) tensor.dispose();
      }
      onProgress?.((piece + (layer + 1) / decoder.layers) / pieces);
    }
  }
  if (!isApart)
    throw new ParameterError(
      `text must be so long that ${method.name} leaves something out, got ${tokens.length} tokens in pieces of at most ${context}: give more, or params with which it does`,
    );
  return { error, tokens: tokens.length, layers: found.map((values) => ({ ...params, [calibration.param]: values })) };
}

interface Narrowing {
  readonly method: Method;
  readonly calibration: Calibration;
  readonly params: Readonly<Record<string, unknown>>;
  /** The most that a head's differences may sum up to. */
  readonly limit: number;
}

/** Halves the values of heads that are too far from exact attention; whether any result was another at first. */
async function narrow(
  inputs: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  { method, calibration: { param, least, heads }, params, limit }: Narrowing,
  values: number[],
): Promise<boolean> {
  const { q, k, v } = inputs;
  const { scale } = params as { readonly scale?: number };
  const shared = heads === 'q' ? 1 : (q.shape[2] as number) / (k.shape[2] as number);
  const exact = attention(q, k, v, { causal: true, scale });
  let isApart = false;
  try {
    for (let isFirst = true; ; isFirst = false) {
      using distances = q.runtime.scope(() => {
        const { out } = method.forward(inputs, method.parse({ ...params, [param]: [...values] } as never));
        const apart = map((a, b) => Math.abs(a - b), out as Tensor, exact.out);
        return sum(apart, { axes: [0, 1, 3] });
      });
      const all = await distances.read();
      if (isFirst) isApart = all.some((distance) => distance > 0);
      const far = values.map((value, at) => {
        const own = all.subarray(at * shared, (at + 1) * shared);
        return value > 0 && !own.every((distance) => distance < limit);
      });
      if (!far.includes(true)) return isApart;
      for (const [at, isFar] of far.entries())
        if (isFar) values[at] = (values[at] as number) / 2 > least ? (values[at] as number) / 2 : 0;
    }
  } finally {
    exact.out.dispose();
    exact.lse.dispose();
  }
}

/**
 * Attention whose methods have what was calibrated for these weights, where their params leave it out and a file beside the weights
 * has it.
 *
 * @throws {ParseError} a file of another model or method, with other layers or heads, or no numbers
 * @throws {ParameterError} neither a param that a method needs nor a file that has it
 */
export async function withCalibrations(
  weights: Weights,
  given: DecoderAttention | undefined,
  config: DecoderConfig,
  signal?: AbortSignal,
): Promise<DecoderAttention | undefined> {
  if (given === undefined) return undefined;
  const { layers } = createDecoder(config, { attention: exactAttention as Method });
  const choices = Array.isArray(given) ? given : new Array<typeof given>(layers).fill(given);
  const files = new Map<string, CalibrationFile | undefined>();
  const result: (Method | LayerAttention)[] = [];
  for (const [layer, choice] of choices.entries()) {
    const isChoice = isRecord(choice) && 'method' in choice;
    const { method, params = {}, ...rest } = (isChoice ? choice : { method: choice }) as LayerAttention;
    const { calibration, name } = (method ?? {}) as Partial<Method>;
    if (!calibration || name === undefined || Object.hasOwn(params, calibration.param)) {
      result.push(choice as Method);
      continue;
    }
    if (!files.has(name)) files.set(name, await readCalibration(weights, method, layers, signal));
    const own = files.get(name)?.layers[layer];
    if (!own) checkStarted(method, params as Readonly<Record<string, unknown>>);
    result.push(own ? { ...rest, method, params: { ...own, ...params } } : (choice as Method));
  }
  return [...files.values()].some(Boolean) ? result : given;
}

/** Throws if all that a method lacks is what could be calibrated. */
function checkStarted({ name, params: schema, calibration }: Method, params: Readonly<Record<string, unknown>>): void {
  const { param, start } = calibration as Calibration;
  const started = { ...params, [param]: start };
  if (is(schema, params) || !is(schema, started)) return;
  throw new ParameterError(
    `${name} needs its param ${param}, such as ${start}, or what saccade calibrate ${name} finds for the model and keeps beside it`,
  );
}

/**
 * What was calibrated of a method for these weights, if a file beside them has it.
 *
 * @throws {ParseError} a file of another model or method, with other layers, or no numbers
 */
export async function readCalibration(
  weights: Weights,
  { name, calibration }: Method,
  layers: number,
  signal?: AbortSignal,
): Promise<CalibrationFile | undefined> {
  if (!calibration) return undefined;
  const { param } = calibration;
  const bytes = await weights.readBeside(calibrationName(name), { signal });
  if (!bytes) return undefined;
  const label = `${calibrationName(name)} of ${weights.name}`;
  const again = `calibrate again: saccade calibrate ${name} --model FOLDER --text FILE`;
  let file: Partial<CalibrationFile>;
  try {
    file = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ParseError(`${label} is not JSON: ${(error as Error).message}`);
  }
  if (!isRecord(file) || file.format !== 'saccade calibration' || file.version !== 1)
    throw new ParseError(
      `${label} must be what saccade calibrate writes, version 1, got ${show(file?.format ?? file)}`,
    );
  if (file.method !== name) throw new ParseError(`${label} is of ${show(file.method)}, expected '${name}'`);
  if (file.model !== (await weights.identity({ signal })))
    throw new ParseError(`${label} is of another model: ${again}`);
  if (!Array.isArray(file.layers) || file.layers.length !== layers)
    throw new ParseError(`${label} must have ${layers} layers, got ${show(file.layers)}: ${again}`);
  for (const [at, layer] of file.layers.entries()) {
    const values: unknown = isRecord(layer) ? layer[param] : undefined;
    const isList = Array.isArray(values) && values.length > 0;
    if (!isList || !values.every((value) => Number.isFinite(value) && value >= 0))
      throw new ParseError(`${label}: ${partName(`layers[${at}]`, param)} must be numbers >= 0, got ${show(values)}`);
  }
  return file as CalibrationFile;
}
