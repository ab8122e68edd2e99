export default function Index() {
  return <p>hello from next</p>;
}
