import { createApp, h } from "vue";

createApp({ render: () => h("p", "hello from vue") }).mount("#app");
