// @ts-check
// Shared by all charts of a page: plotly.js and the styles, loaded once.

const styles = document.createElement("link");
styles.rel = "stylesheet";
const stylesLoaded = new Promise((done) => (styles.onload = styles.onerror = done));
styles.href = new URL("chart.css", import.meta.url).href;
document.head.append(styles);

/** @type {Promise<PlotlyLibrary> | null} */
let library = null;

/** Load plotly.js once for the page; after a failure, the next chart tries again. */
export function loadPlotly(address, texts) {
  library ??= new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      fail(new Error(texts.offline));
    };
    document.head.append(script);
  });
  return Promise.all([library, stylesLoaded]).then(([plotly]) => plotly);
}
