/** A program of a paper. */
export interface Pipeline {
  /** The command that runs it. */
  readonly command: string;
  readonly summary: string;
}

/** By the names that papers have for them. */
export const PIPELINES: Readonly<Record<string, Pipeline>> = {
  'generative-kernel-continual-learning': {
    command: 'saccade continual --data digits',
    summary:
      'learns tasks of labelled pictures one after the other, and tells what is forgotten, beside stored rows, fine-tuning and joint training',
  },
};
