// What the page's scripts share and meet, for the type check alone.

/** plotly.js, as far as it is used here; see chart_library.js. */
interface PlotlyLibrary {
  react(plot: HTMLElement, data: any[], layout: object, config: object): Promise<unknown>;
  restyle(plot: HTMLElement, changes: object, traces: number[]): Promise<unknown>;
  purge(plot: HTMLElement): void;
  downloadImage(drawing: object, options: object): Promise<string>;
}

/** A Plotly figure as the server writes it. */
interface Figure {
  data: any[];
  layout: Record<string, any>;
}

/** What the page's pointer knows of a run; components/pointer/view.py writes it. */
interface RunLayout {
  spans: VisualSpan[];
  patchSize: number;
  positions: [t: number[], h: number[], w: number[]];
  texts: Record<number, string>;
  words: Record<string, string>;
  selection?: Wish; // what a link points at
}

/** The answer in the sequence that the decoder tab shows; answer_words.py writes it. */
interface Answer {
  start: number; // sequence index of its first token
  ids: string; // equal for equal answers
  positions: number[];
  texts: string[];
}

/** An image, or a step of a video, in the sequence. */
interface VisualSpan {
  name: string;
  kind: string;
  start: number;
  end: number;
  gridH: number;
  gridW: number;
  patchStart: number;
  mergeSize: number;
}

type Pair = [first: number, last: number];

/** A token of the text. */
interface TextSelection {
  index: number;
  thw: [number, number, number];
  span?: undefined;
  patch?: undefined;
}

/** A token of an image and, where one was chosen, the patch (row, column). */
interface VisualSelection {
  index: number;
  thw: [number, number, number];
  span: number;
  rows: Pair;
  columns: Pair;
  x: Pair;
  y: Pair;
  pixelRows: number[];
  patch?: [row: number, column: number];
}

type TokenSelection = TextSelection | VisualSelection;

/** What a view asks the pointer for: a token, a patch, or a position on the merged grid. */
type Wish =
  | { index: number }
  | { index?: undefined; span: number; mergedRow?: undefined; row: number; column: number }
  | { index?: undefined; span: number; mergedRow: number; mergedColumn: number };

/** What the pointer stands on in every view. */
interface Selections {
  fixed?: TokenSelection | null;
  hovered?: TokenSelection | null;
}

interface Window {
  Plotly: PlotlyLibrary;
}
declare const Plotly: PlotlyLibrary; // in a run report, where it stands in the file

// The page's own events.
interface DocumentEventMap {
  "chart-click": CustomEvent;
  "chart-hover": CustomEvent;
  "chart-unhover": CustomEvent;
  "pointer-change": CustomEvent<Selections>;
  rerun: CustomEvent;
  "setting-left-out": CustomEvent<string>;
}
interface HTMLElementEventMap {
  "chart-click": CustomEvent;
}
