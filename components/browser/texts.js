// @ts-check
// Texts of the page's scripts, in the languages of the page.

export const TEXTS = {
  en: {
    waiting: "Run this stage to see its numbers.",
    waitingForAnswer: "The answer has not been read yet, see above.",
    running: (stage) => `Running: ${stage} …`,
    stages: {
      preprocess: "preprocess", vision: "vision tower", merge: "merge", decoder: "decoder",
    },
    unreachable: "The server did not answer. Check the connection, or reload the page.",
    nothing: "Nothing to draw yet.",
    chart: "Chart",
    reset: "Reset the view",
    png: "Save as PNG",
    csv: "Save the numbers as CSV",
    table: "Show as table",
    copy: "Copy",
    copied: "Copied",
    add: "Add…",
    leftOut: (count) => `${count} settings in the link do not apply here and were ignored.`,
  },
  zh: {
    waiting: "运行此阶段即可查看其数值。",
    waitingForAnswer: "尚未读入回答，见上方。",
    running: (stage) => `正在运行：${stage}……`,
    stages: {
      preprocess: "预处理", vision: "视觉塔", merge: "合并", decoder: "解码器",
    },
    unreachable: "服务器没有响应。请检查网络连接，或刷新页面。",
    nothing: "暂无可绘制的内容。",
    chart: "图表",
    reset: "重置视图",
    png: "保存为 PNG",
    csv: "将数值保存为 CSV",
    table: "以表格显示",
    copy: "复制",
    copied: "已复制",
    add: "添加…",
    leftOut: (count) => `链接中有 ${count} 项设置在这里不适用，已略去。`,
  },
};

/** Those in the language of the page. */
export const pageTexts = () =>
  TEXTS[document.documentElement.lang.split("-")[0]] ?? TEXTS.en;
