using Grpc.Core;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>A service of byte messages, written as generated code would be.</summary>
[BindServiceMethod(typeof(EchoService), nameof(BindService))]
public class EchoService(EchoService.Probe probe)
{
    public static readonly Marshaller<byte[]> Bytes = Marshallers.Create(static value => value, static value => value);

    public static readonly Method<byte[], byte[]> UnaryMethod = Make(MethodType.Unary, nameof(Unary));
    public static readonly Method<byte[], byte[]> CollectMethod = Make(MethodType.ClientStreaming, nameof(Collect));
    public static readonly Method<byte[], byte[]> CountMethod = Make(MethodType.ServerStreaming, nameof(Count));
    public static readonly Method<byte[], byte[]> ChatMethod = Make(MethodType.DuplexStreaming, nameof(Chat));
    public static readonly Method<byte[], byte[]> UnknownMethod = Make(MethodType.Unary, "Nothing");

    public static void BindService(ServiceBinderBase binder, EchoService? service)
    {
        binder.AddMethod(UnaryMethod, service is null ? null : new UnaryServerMethod<byte[], byte[]>(service.Unary));
        binder.AddMethod(
            CollectMethod, service is null ? null : new ClientStreamingServerMethod<byte[], byte[]>(service.Collect));
        binder.AddMethod(
            CountMethod, service is null ? null : new ServerStreamingServerMethod<byte[], byte[]>(service.Count));
        binder.AddMethod(
            ChatMethod, service is null ? null : new DuplexStreamingServerMethod<byte[], byte[]>(service.Chat));
    }

    public virtual Task<byte[]> Unary(byte[] request, ServerCallContext context) => probe.OnUnary(request, context);

    public virtual Task<byte[]> Collect(IAsyncStreamReader<byte[]> requests, ServerCallContext context) =>
        probe.OnCollect(requests, context);

    public virtual Task Count(byte[] request, IServerStreamWriter<byte[]> responses, ServerCallContext context) =>
        probe.OnCount(request, responses, context);

    public virtual Task Chat(
        IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context) =>
        probe.OnChat(requests, responses, context);

    private static Method<byte[], byte[]> Make(MethodType type, string name) =>
        new(type, "test.v1.Echo", name, Bytes, Bytes);

    /// <summary>What the service does, replaced by each test where the default does not serve.</summary>
    public sealed class Probe
    {
        public Func<byte[], ServerCallContext, Task<byte[]>> OnUnary { get; set; } =
            static (request, _) => Task.FromResult(request);

        public Func<IAsyncStreamReader<byte[]>, ServerCallContext, Task<byte[]>> OnCollect { get; set; } =
            static async (requests, _) =>
            {
                var all = new List<byte>();
                await foreach (var request in requests.ReadAllAsync())
                {
                    all.AddRange(request);
                }

                return [.. all];
            };

        public Func<byte[], IServerStreamWriter<byte[]>, ServerCallContext, Task> OnCount { get; set; } =
            static async (request, responses, _) =>
            {
                for (var i = 0; i < request[0]; i++)
                {
                    await responses.WriteAsync([(byte)i]);
                }
            };

        public Func<IAsyncStreamReader<byte[]>, IServerStreamWriter<byte[]>, ServerCallContext, Task> OnChat
        { get; set; } =
            static async (requests, responses, _) =>
            {
                await foreach (var request in requests.ReadAllAsync())
                {
                    await responses.WriteAsync(request);
                }
            };
    }
}
