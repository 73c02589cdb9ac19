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
  readonly picture?: { readonly file: string; readonly width: number; readonly height: number; readonly text: string };
  /** Stored runs over tasks. */
  readonly runs: readonly { readonly file: string; readonly title: string }[];
  /** The name of a file of examples, without its ending. */
  readonly example?: string | undefined;
}

/** By the names that papers have for them. */
export const PIPELINES: Readonly<Record<string, Pipeline>> = {
  'c3d-ad': {
    command: 'saccade anomaly train --data shapes',
    summary:
      'learns classes of point clouds task by task, and scores clouds and points by how unlike those they are, beside detectors without the advisor, with softmaxes, without the loss of changed parameters, and fine-tuned',
    shown: {
      picture: {
        file: 'c3d-ad.png',
        ...{ width: 960, height: 320 },
        text: 'Six clouds with defects, each from two sides, scored after all four tasks: warm places are unlike the clouds that were learned. It marks the dent of the egg and the bump of the ball; of the ring and the hourglass it marks what it reconstructs badly in any such cloud.',
      },
      runs: [{ file: 'c3d-ad.json', title: 'AUROC by cloud of the classes so far' }],
    },
  },
  'generative-kernel-continual-learning': {
    command: 'saccade continual --data digits',
    summary:
      'learns tasks of labelled pictures one after the other, and tells what is forgotten, beside stored rows, fine-tuning and joint training',
    shown: {
      picture: {
        file: 'continual-split-digits.png',
        ...{ width: 224, height: 280 },
        text: 'What the generator makes of each digit after five tasks of two, eight rows of each; none of the pictures that it learned from was kept.',
      },
      runs: ['split digits', 'split fashion'].map((series) => ({
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
  },
  optiprune: {
    command: 'saccade paint "a shirt and a shoe" --latent-mapper --prune 0.5',
    summary:
      'paints garments from words by diffusion networks that were trained here, with the first noise placed by attention and alike places pruned',
    shown: {
      picture: {
        file: 'optiprune.png',
        ...{ width: 1182, height: 192 },
        text: 'A prompt that the choice helps, a shirt and a shoe: from the noise of a seed as it is, which becomes a shoe alone, and from the one of eight noises in which attention finds both subjects best. Beside each: where attention looks for the shirt and for the shoe once the layout is settled.',
      },
      runs: [],
    },
  },
  'dydi-lit': {
    command: 'saccade paint transformers --out transformers',
    summary:
      'trains diffusion transformers with softmax, linear and dynamic differential attention at equal parameters, and compares what they make',
  },
  'longca-bench': {
    command: 'saccade simulate context-parallel --devices 8,64',
    summary:
      'counts what attention over several devices sends, holds and takes by each of five ways to spread the sequence, and says which is fastest where',
  },
};
