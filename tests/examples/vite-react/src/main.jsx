import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router-dom";

createRoot(document.getElementById("app")).render(
  <BrowserRouter>hello from react {import.meta.env.VITE_NAME}</BrowserRouter>,
);
