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
      'learns classes of point clouds task by task, and scores clouds and points by how unlike those they are, beside detectors without the advisor, with softmaxes, and without the loss of changed parameters',
  },
  'generative-kernel-continual-learning': {
    command: 'saccade continual --data digits',
    summary:
      'learns tasks of labelled pictures one after the other, and tells what is forgotten, beside stored rows, fine-tuning and joint training',
  },
};
