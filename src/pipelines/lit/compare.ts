/** Diffusion transformers that differ in their attention alone: each trained over seeds, and measured alike. */
import { checkChoices, checkOptions, checkWhole, show } from '../../check';
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
  /** Called with a transformer's row, and the first pictures that it painted, up to eight of [64, 64], from 0 to 1. */
  readonly onRow?: ((row: TransformerRow, painted: Float32Array) => Promise<void> | void) | undefined;
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

export const configOf = (kind: AttentionKind): LitConfig => ({
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
    if (known) {
      rows.push(known);
      continue;
    }
    const { painted, ...found } = await measured({ attention, seed, tell });
    const row = { attention, seed, ...found };
    rows.push(row);
    await onRow?.(row, painted);
  }
  const parameters = Object.fromEntries(attentions.map((kind) => [kind, parametersOf(kind)]));
  return { rows, parameters, drawn: await distanceOfDrawn(studio, wardrobe, pictures) };

  async function measured({ attention, seed, tell }: Measuring) {
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
  if (attentions !== undefined) checkChoices('attentions', attentions, ATTENTIONS);
  for (const [name, value] of Object.entries({ seeds, steps, batch, sampled })) checkWhole(name, value, 1);
  checkWhole('pictures', pictures, 2);
}
