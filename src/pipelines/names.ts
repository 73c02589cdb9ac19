/** A program of a paper. */
export interface Pipeline {
  /** The command that runs it. */
  readonly command: string;
  readonly summary: string;
}

/** By the names that papers have for them. */
export const PIPELINES: Readonly<Record<string, Pipeline>> = {
  'c3d-ad': {
    command: 'saccade anomaly train --data shapes',
    summary:
      'learns classes of point clouds task by task, and scores clouds and points by how unlike those they are, beside detectors without the advisor, with softmaxes, without the loss of changed parameters, and fine-tuned',
  },
  'generative-kernel-continual-learning': {
    command: 'saccade continual --data digits',
    summary:
      'learns tasks of labelled pictures one after the other, and tells what is forgotten, beside stored rows, fine-tuning and joint training',
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
  },
};
