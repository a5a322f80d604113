import { catalog, EXIT } from "../base/index.ts";

/** Expected failures of reading a model description. */
export const fail = catalog({
  MODEL_NOT_JSON: {
    exit: EXIT.usage,
    message: {
      en: "the model description is not valid JSON: {detail}",
      zh: "模型描述不是合法的 JSON：{detail}",
    },
    next: {
      en: "give the config.json of a Hugging Face model folder",
      zh: "請提供 Hugging Face 模型資料夾中的 config.json",
    },
  },
  MODEL_NOT_OBJECT: {
    exit: EXIT.usage,
    message: {
      en: "the model description is not a JSON object",
      zh: "模型描述不是 JSON 物件",
    },
    next: {
      en: "give the config.json of a Hugging Face model folder",
      zh: "請提供 Hugging Face 模型資料夾中的 config.json",
    },
  },
  MODEL_TYPE_UNKNOWN: {
    exit: EXIT.usage,
    message: {
      en: "model_type {type} is not known{hint}",
      zh: "不認識的 model_type：{type}{hint}",
    },
    next: {
      en: "use one of: {known}",
      zh: "可用的類型：{known}",
    },
  },
  MODEL_FIELD_MISSING: {
    exit: EXIT.usage,
    message: {
      en: "field {field} is missing (needed for model_type {type})",
      zh: "缺少欄位 {field}（model_type {type} 需要它）",
    },
    next: {
      en: "add {field} to the config.json, as in the model's published one",
      zh: "請依照模型公開的設定，在 config.json 中補上 {field}",
    },
  },
  MODEL_FIELD_INVALID: {
    exit: EXIT.usage,
    message: {
      en: "field {field} is {value}, expected {expected}",
      zh: "欄位 {field} 的值是 {value}，應為 {expected}",
    },
    next: {
      en: "correct {field} in the config.json",
      zh: "請修正 config.json 中的 {field}",
    },
  },
  MODEL_CONTRADICTION: {
    exit: EXIT.usage,
    message: {
      en: "fields contradict each other: {detail}",
      zh: "欄位互相矛盾：{detail}",
    },
    next: {
      en: "make them agree: compare with the model's published config.json",
      zh: "請與模型公開的 config.json 對照，使它們一致",
    },
  },
});
