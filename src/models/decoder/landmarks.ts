/** Landmarks: tokens that a decoder puts after every so many of a text's, and that no text shows. */
import { checkKnown, checkNumbers, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { apply, constant } from '../../expressions/expression';
import type { AttentionLayer } from '../../nn/attention';
import { cast, concat, expecting } from '../../ops/copy';
import { gather } from '../../ops/gather';
import { mapOne } from '../../ops/map/core';
import { ElementwiseFunction, element, once } from '../../ops/map/function';
import type { Tensor } from '../../tensor/tensor';
import type { DecoderConfig } from './architectures/settings';

export interface Landmarks {
  /** After so many tokens of a text there is one. */
  readonly every: number;
  /** Its number in the vocabulary. */
  readonly token: number;
}

/** What configurations of models with landmarks say beside all others. */
export interface LandmarkConfig {
  readonly landmark_token_id?: unknown;
  readonly landmark_every?: unknown;
}

/** @throws {ParameterError} layers that want them at different places, or not where they were in training, a token that there is not */
export function landmarksOf(
  layers: readonly AttentionLayer[],
  config: DecoderConfig,
  vocabulary: number,
): Landmarks | undefined {
  const wanted = layers.map(({ method, params }) => method.landmarkEvery?.(params as never));
  const [first] = new Set(wanted.filter((every) => every !== undefined));
  if (first === undefined) return undefined;
  const other = wanted.findIndex((every) => every !== undefined && every !== first);
  if (other >= 0)
    throw new ParameterError(
      `attention of layer ${other}: its block must be ${first}, as in the layers before it, since landmarks are tokens of all layers, got ${wanted[other]}`,
    );
  const { landmark_token_id: token = vocabulary - 1, landmark_every: trained = first } = config as LandmarkConfig;
  if (trained !== first)
    throw new ParameterError(
      `block must be ${show(trained)}, with which the model was trained (landmark_every of the configuration), got ${first}`,
    );
  if (typeof token !== 'number')
    throw new ParameterError(`landmark_token_id of the configuration must be a token, got ${show(token)}`);
  checkWhole('landmark_token_id of the configuration', token, 0, vocabulary - 1);
  return { every: first, token };
}

/** Tokens with the landmarks that are among so many of a text. */
export const withLandmarks = (length: number, { every }: Landmarks): number => length + Math.floor(length / every);

/** Tokens of a text among so many. */
export const withoutLandmarks = (length: number, { every }: Landmarks): number =>
  length - Math.floor(length / (every + 1));

/** A text's tokens, from number `before` of the text on, with the landmarks that end its blocks. */
export function insertLandmarks(tokens: readonly number[], landmarks: Landmarks, before = 0): number[] {
  checkNumbers('tokens', tokens, 'integers', Number.isSafeInteger);
  checkKnown('landmarks', landmarks, ['every', 'token'], (name) => `landmarks have no '${name}'`);
  checkWhole('every of landmarks', landmarks.every, 1);
  checkWhole('token of landmarks', landmarks.token, NO_TARGET);
  checkWhole('before', before, 0);
  return Array.from(tokens).flatMap((token, at) =>
    (before + at + 1) % landmarks.every === 0 ? [token, landmarks.token] : [token],
  );
}

/** The target of landmarks, whose results do not count. */
export const NO_TARGET = -1;

/**
 * A text's tokens and the next of each, with landmarks, whose targets do not count (`NO_TARGET`); that of a token before a landmark
 * is the token behind it.
 */
export function insertTargets(
  tokens: readonly number[],
  targets: readonly number[],
  landmarks: Landmarks | undefined,
): { readonly tokens: readonly number[]; readonly targets: readonly number[] } {
  if (!landmarks) return { tokens, targets };
  return {
    tokens: insertLandmarks(tokens, landmarks),
    targets: insertLandmarks(targets, { ...landmarks, token: NO_TARGET }),
  };
}

/**
 * Positions of so many tokens with landmarks, after each of which they jump by up to `most` - 1 more, so that a model trained on short
 * texts sees large ones. `draw` gives numbers from 0 to below 1; a `most` of 1 gives the usual positions.
 */
export function jumpedPositions(count: number, { every }: Landmarks, most: number, draw: () => number): number[] {
  let jumped = 0;
  return Array.from({ length: count }, (_, at) => {
    if (at > 0 && at % (every + 1) === 0) jumped += Math.floor(most * draw());
    return at + jumped;
  });
}

/** For each of so many tokens whether its block stands behind the context-miss token, 1 or 0: a random half of the blocks. */
export function gatedTokens(count: number, { every }: Landmarks, draw: () => number): number[] {
  const blocks = Array.from({ length: Math.ceil(count / (every + 1)) }, () => Number(draw() < 0.5));
  return Array.from({ length: count }, (_, at) => blocks[Math.floor(at / (every + 1))] as number);
}

/** Beyond all tokens, in float32 too. */
const BEYOND = 2 ** 23;

/** x where it is the landmark just as its place is one, else below -BEYOND. Built by hand: pages of decoders have no parser. */
const placed = once(() => {
  const [x, place, landmark] = [element(0), element(1), element(2)];
  const isLandmark = apply('select', apply('equal', x, landmark), constant(1), constant(0));
  return new ElementwiseFunction('landmarks', 3, [
    apply('select', apply('equal', isLandmark, place), x, apply('subtract', constant(-BEYOND), x)),
  ]);
});

/** The same tokens [b, n]; a landmark that is missing behind a block, or that stands elsewhere, is their fault. */
export function checkedPlaces(tokens: Tensor, { every, token }: Landmarks): Tensor {
  const { runtime } = tokens;
  const n = tokens.shape[1] as number;
  const isPlace = (at: number) => (at % n) % (every + 1) === every;
  return runtime.scope(() => {
    const place = Float32Array.from({ length: n }, (_, at) => Number(isPlace(at)));
    const found = mapOne(placed(), {
      x: cast(tokens, 'f32'),
      place: runtime.tensor(place, [n]),
      landmark: runtime.tensor([token], []),
    });
    const checked = expecting(found, {
      least: 1 - BEYOND,
      most: Number.POSITIVE_INFINITY,
      error: (value, at) =>
        new ParameterError(
          `tokens[${Math.floor(at / n)}][${at % n}] must be ${isPlace(at) ? `the landmark ${token}, which follows every ${every} tokens` : `no landmark, ${token}, which stands behind every ${every} tokens only`}, got ${-value - BEYOND}`,
        ),
    });
    return cast(checked, 'i32');
  });
}

export interface Inserted {
  /** [rows, n] i32. */
  readonly tokens: Tensor;
  /** Tokens of each row, landmarks among them. */
  readonly counts: readonly number[];
  /** The place of the last token of each row's text; 0 for none. */
  readonly last: readonly number[];
  /** The places of all tokens of the text, row by row; default: all. */
  readonly own?: readonly number[] | undefined;
}

/** The first `counts[r]` tokens of each row, of which `before[r]` are behind already, with landmarks. */
export function insertedRows(
  tokens: Tensor,
  before: readonly number[],
  counts: readonly number[],
  landmarks: Landmarks,
): Inserted {
  const [, n] = tokens.shape as [number, number];
  const places = counts.map((count, row) => {
    const own = Array.from({ length: count }, (_, at) => row * n + at);
    return insertLandmarks(own, { ...landmarks, token: -1 }, before[row]);
  });
  const width = Math.max(1, ...places.map(({ length }) => length));
  // Behind all tokens comes the landmark.
  const all = Int32Array.from({ length: places.length * width }, (_, at) => {
    const place = places[Math.floor(at / width)]?.[at % width] ?? -1;
    return place < 0 ? tokens.size : place;
  });
  const { runtime } = tokens;
  const inserted = runtime.scope(() => {
    const own = cast(tokens, 'f32').reshape([tokens.size, 1]) as Tensor<'f32'>;
    const table = concat([own, runtime.tensor([landmarks.token], [1, 1])], 0);
    const indices = runtime.tensor(all, [places.length, width], 'i32');
    return cast(gather(table, indices).reshape([places.length, width]), 'i32');
  });
  return {
    tokens: inserted,
    counts: places.map(({ length }) => length),
    own: places.flatMap((row, at) => row.flatMap((place, offset) => (place < 0 ? [] : [at * width + offset]))),
    last: places.map((row) =>
      Math.max(
        0,
        row.findLastIndex((place) => place >= 0),
      ),
    ),
  };
}
