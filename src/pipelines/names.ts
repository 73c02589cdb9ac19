/** A program of a paper. */
export interface Pipeline {
  /** The command that runs it. */
  readonly command: string;
  readonly summary: string;
  /** What its paper's page in the atlas opens on. */
  readonly shown?: PipelineShown | undefined;
}

/** Files are those of docs/pipelines. */
export interface PipelineShown {
  readonly pictures?: readonly {
    readonly file: string;
    readonly width: number;
    readonly height: number;
    readonly text: string;
  }[];
  /** What the model of pictures and words makes of a picture, by questions. */
  readonly looks?: { readonly file: string; readonly questions: readonly string[] };
  readonly runs: readonly ShownRun[];
  /** The name of a file of examples, without its ending. */
  readonly example?: string | undefined;
}

/** A stored run over tasks, or one figure of a comparison: a number of each kind, or numbers whose places are called by `x`. */
export interface ShownRun {
  readonly file: string;
  readonly title: string;
  readonly figure?: string;
  readonly x?: string;
}

/** By the names that papers have for them. */
export const PIPELINES: Readonly<Record<string, Pipeline>> = {
  'c3d-ad': {
    command: 'saccade anomaly train --data shapes',
    summary:
      'learns classes of point clouds task by task, and scores clouds and points by how unlike those they are, beside detectors without the advisor, with softmaxes, without the loss of changed parameters, and fine-tuned',
    shown: {
      pictures: [
        {
          file: 'c3d-ad.png',
          ...{ width: 960, height: 320 },
          text: 'Six clouds with defects, each from two sides, scored after all four tasks: warm places are unlike the clouds that were learned. It marks the dent of the egg and the bump of the ball; of the ring and the hourglass it marks what it reconstructs badly in any such cloud.',
        },
      ],
      runs: [{ file: 'c3d-ad.json', title: 'AUROC by cloud of the classes so far' }],
    },
  },
  'generative-kernel-continual-learning': {
    command: 'saccade continual --data digits',
    summary:
      'learns tasks of labelled pictures one after the other, and tells what is forgotten, beside stored rows, fine-tuning and joint training',
    shown: {
      pictures: [
        {
          file: 'continual-split-digits.png',
          ...{ width: 224, height: 280 },
          text: 'What the generator makes of each digit after five tasks of two, eight rows of each; none of the pictures that it learned from was kept.',
        },
      ],
      runs: ['split digits', 'split fashion', 'permuted digits', 'rotated digits'].map((series) => ({
        file: `continual-${series.replace(' ', '-')}.json`,
        title: `Accuracy on the tasks so far, ${series}`,
      })),
      example: 'drawn-digits',
    },
  },
  'sd-rpn': {
    command: "saccade look --regions --image garments.png --question 'which red shoe'",
    summary:
      'answers a question about a picture, finds by a predictor that learned from its attention where the answer lies, and answers again after a closer look there',
    shown: {
      looks: { file: '../regions/garments.png', questions: ['which red shoe', 'which red top'] },
      runs: [],
    },
  },
  optiprune: {
    command: 'saccade paint "a shirt and a shoe" --latent-mapper --prune 0.5',
    summary:
      'paints garments from words by diffusion networks that were trained here, with the first noise placed by attention and alike places pruned',
    shown: {
      pictures: [
        {
          file: 'optiprune.png',
          ...{ width: 1182, height: 192 },
          text: 'A prompt that the choice helps, a shirt and a shoe: from the noise of a seed as it is, which becomes a shoe alone, and from the one of eight noises in which attention finds both subjects best. Beside each: where attention looks for the shirt and for the shoe once the layout is settled.',
        },
      ],
      runs: [
        { file: 'optiprune.json', title: 'Share of prompts with both subjects', figure: 'share' },
        { file: 'optiprune.json', title: 'Passes through the network, over those of plain painting', figure: 'cost' },
      ],
    },
  },
  'dydi-lit': {
    command: 'saccade paint transformers --out transformers',
    summary:
      'trains diffusion transformers with softmax, linear and dynamic differential attention at equal parameters, and compares what they make',
    shown: {
      pictures: (
        [
          ['softmax', 'Softmax attention.'],
          ['relu', 'Linear attention over relu.'],
          ['focused', 'Linear attention over powers.'],
          ['differential', 'The same less what is redundant.'],
          [
            'dydila',
            'DyDiLA: what all tokens shared before is picked by each. All five begin with the same noise and are told the same garments; 300 steps of training do not get further.',
          ],
        ] as const
      ).map(([attention, text]) => ({ file: `dydi-lit-${attention}.png`, width: 1080, height: 128, text })),
      runs: [
        { file: 'dydi-lit.json', title: 'Loss while learning', figure: 'losses', x: 'twentieth of the training' },
        { file: 'dydi-lit.json', title: 'Frechet distance from drawn scenes', figure: 'distance' },
        { file: 'dydi-lit.json', title: 'Processor time of a training, in seconds', figure: 'seconds' },
        {
          file: 'dydi-lit.json',
          title: 'How often tokens pick each matrix of redundant queries, the most used first',
          figure: 'routes',
          x: 'matrix',
        },
      ],
    },
  },
  'longca-bench': {
    command: 'saccade simulate context-parallel --devices 8,64',
    summary:
      'counts what attention over several devices sends, holds and takes by each of five ways to spread the sequence, and says which is fastest where',
  },
};
