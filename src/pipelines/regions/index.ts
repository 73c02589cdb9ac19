/** Regions of interest: a model of pictures and words that answers, finds what it should look at, and looks there once more. */
export {
  type Answer,
  lookTwice,
  type RegionsLook,
  type RegionsOptions,
  type SecondLook,
  type Viewer,
} from './look';
export { type LoadViewerOptions, loadViewer } from './trained';
export type { ViewerConfig } from './viewer';
export type { PlaceBox, SourceBox } from './views';
