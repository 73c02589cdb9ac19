/** Diffusion transformers that differ in their attention alone: each trained over seeds, and measured alike. */
import { checkOptions, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { drawnGarments, GARMENTS } from '../paint/garments';
import type { PaintControl } from '../paint/paint';
import { Studio } from '../paint/studio';
import { ATTENTIONS, type AttentionKind, countOf, type LitConfig, litParameters } from './network';
import { distanceOfDrawn, type LitFound, type LitSettings, trainLit } from './run';

export interface TransformersSettings extends Omit<LitSettings, 'seed'> {
  /** Kinds of attention; default all. */
  readonly attentions?: readonly AttentionKind[] | undefined;
  readonly seeds: number;
}

export interface TransformerRow extends LitFound {
  readonly attention: AttentionKind;
  readonly seed: number;
  /** Processor time of the training in seconds; 0 where that is not told. */
  readonly seconds: number;
}

export interface TransformersControl extends Omit<PaintControl, 'onProgress'> {
  /** Transformers that were trained before, with the same settings. */
  readonly earlier?: readonly TransformerRow[] | undefined;
  readonly onRow?: ((row: TransformerRow) => Promise<void> | void) | undefined;
  readonly onProgress?: ((share: number, what: string) => void) | undefined;
}

export interface Transformers {
  readonly rows: readonly TransformerRow[];
  /** The Frechet distance between drawn scenes and others, as many as are painted: about what can be reached. */
  readonly drawn: number;
  /** By kind of attention. */
  readonly parameters: Readonly<Record<string, number>>;
}

/** Drawn garments that scenes are made of. */
const DRAWN = 600;

const configOf = (kind: AttentionKind): LitConfig => ({
  kind,
  width: 48,
  heads: 2,
  depth: 2,
  classes: GARMENTS.length,
});

export const parametersOf = (kind: AttentionKind): number => countOf(litParameters(configOf(kind)));

/**
 * Trains a transformer for each seed and attention, on scenes of drawn garments as a studio's codec sees them.
 *
 * @throws {ParameterError} settings that are unknown or out of range; a studio of other garments
 */
export async function compareTransformers(
  studio: Studio,
  settings: TransformersSettings,
  { earlier = [], onRow, onProgress, signal }: TransformersControl = {},
): Promise<Transformers> {
  checkSettings(studio, settings);
  const { attentions = ATTENTIONS, seeds, pictures } = settings;
  const wardrobe = { pictures: drawnGarments(DRAWN, 1), words: GARMENTS };
  const wanted = Array.from({ length: seeds }, (_, seed) =>
    attentions.map((attention) => ({ attention, seed })),
  ).flat();
  const rows: TransformerRow[] = [];
  for (const [at, { attention, seed }] of wanted.entries()) {
    const tell = (share: number, what = '') =>
      onProgress?.((at + share) / wanted.length, `${attention}, seed ${seed}${what}`);
    const known = earlier.find((row) => row.attention === attention && row.seed === seed);
    const row = known ?? { attention, seed, ...(await measured({ attention, seed, tell })) };
    rows.push(row);
    if (!known) await onRow?.(row);
  }
  const parameters = Object.fromEntries(attentions.map((kind) => [kind, parametersOf(kind)]));
  return { rows, parameters, drawn: await distanceOfDrawn(studio, wardrobe, pictures) };

  async function measured({ attention, seed, tell }: Measuring): Promise<Omit<TransformerRow, 'attention' | 'seed'>> {
    tell(0);
    const before = globalThis.process?.cpuUsage?.();
    let spent = before;
    const onStep = (step: number, loss: number) => {
      tell((0.95 * step) / settings.steps, `: loss ${loss.toPrecision(3)}`);
      spent = before && process.cpuUsage(before);
    };
    const found = await trainLit(studio, configOf(attention), wardrobe, { ...settings, seed }, { signal, onStep });
    return { ...found, seconds: spent ? (spent.user + spent.system) / 1e6 : 0 };
  }
}

interface Measuring extends Pick<TransformerRow, 'attention' | 'seed'> {
  readonly tell: (share: number, what?: string) => void;
}

function checkSettings(studio: Studio, settings: TransformersSettings): void {
  if (!(studio instanceof Studio)) throw new ParameterError(`studio must be one of openStudio(), got ${show(studio)}`);
  if (studio.words.join() !== GARMENTS.join())
    throw new ParameterError(`transformers learn from drawn garments: the studio must know ${GARMENTS.join(', ')}`);
  checkOptions('settings', settings, ['attentions', 'seeds', 'steps', 'batch', 'pictures', 'sampled']);
  const { attentions, seeds, steps, batch, pictures, sampled } = settings;
  if (attentions !== undefined) checkAttentions(attentions);
  for (const [name, value] of Object.entries({ seeds, steps, batch, sampled })) checkWhole(name, value, 1);
  checkWhole('pictures', pictures, 2);
}

/** @throws {ParameterError} none, unknown ones, or one twice */
export function checkAttentions(attentions: readonly string[]): asserts attentions is readonly AttentionKind[] {
  const isKnown = (each: unknown) => (ATTENTIONS as readonly unknown[]).includes(each);
  if (
    !Array.isArray(attentions) ||
    attentions.length === 0 ||
    !attentions.every(isKnown) ||
    new Set(attentions).size < attentions.length
  )
    throw new ParameterError(`attentions must be some of ${ATTENTIONS.join(', ')}, each once, got ${show(attentions)}`);
}
