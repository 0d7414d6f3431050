using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using Broker.ServiceDefaults;
using Broker.Tests.Unit.GrpcCalls;
using Grpc.Core;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

/// <summary>What a service holds of messages whose end has not come.</summary>
public sealed class ReceiveBudgetTests
{
    private const int BudgetBytes = 1024 * 1024;
    private const int MessageBytes = 600 * 1024;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Messages_that_do_not_end_are_refused_when_they_are_too_much_together()
    {
        await using var server = await StartAsync();
        using var client = new HttpClient();
        var slow = Enumerable.Range(0, 4).Select(_ => new SlowMessage()).ToList();
        var calls = slow.ConvertAll(message => SendAsync(client, server, message));
        foreach (var message in slow)
        {
            await message.Begun.WaitAsync(EchoServer.Patience, Test);
        }

        // The budget is for two of them: whoever waits for more when it is spent ends.
        slow.ForEach(static message => message.GoOn.TrySetResult());
        var statuses = await Task.WhenAll(calls).WaitAsync(EchoServer.Patience, Test);

        Assert.Contains(StatusCode.ResourceExhausted, statuses);
        Assert.All(statuses, static status => Assert.True(
            status is StatusCode.OK or StatusCode.ResourceExhausted, $"{status}"));

        // What was held is given back.
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(MessageBytes, (await server.Unary(new byte[MessageBytes])).Length);
        }
    }

    [Fact]
    public async Task Whole_messages_and_other_services_are_not_counted()
    {
        await using var server = await StartAsync("/other.v1.Service");
        using var client = new HttpClient();
        var slow = Enumerable.Range(0, 4).Select(_ => new SlowMessage()).ToList();
        var calls = slow.ConvertAll(message => SendAsync(client, server, message));
        foreach (var message in slow)
        {
            await message.Begun.WaitAsync(EchoServer.Patience, Test);
            message.GoOn.TrySetResult();
        }

        Assert.All(await Task.WhenAll(calls), static status => Assert.Equal(StatusCode.OK, status));
    }

    private static Task<EchoServer> StartAsync(string path = "/test.v1.Echo") => EchoServer.StartAsync(
        map: app => app.UseReceiveBudget(
            BudgetBytes, static () => new RpcException(new Status(StatusCode.ResourceExhausted, "full")), path));

    private static async Task<StatusCode> SendAsync(HttpClient client, EchoServer server, HttpContent message)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, server.Address + EchoService.UnaryMethod.FullName)
        {
            Content = message,
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        request.Headers.TE.Add(new TransferCodingWithQualityHeaderValue("trailers"));
        using var response = await client.SendAsync(request, Test);
        await response.Content.ReadAsByteArrayAsync(Test);
        var headers = response.TrailingHeaders.Contains("grpc-status") ? response.TrailingHeaders : response.Headers;
        return (StatusCode)int.Parse(headers.GetValues("grpc-status").Single(), CultureInfo.InvariantCulture);
    }

    /// <summary>A gRPC message that stops for a while before its last byte.</summary>
    private sealed class SlowMessage : HttpContent
    {
        private readonly TaskCompletionSource _begun = new();

        public SlowMessage() => Headers.ContentType = new MediaTypeHeaderValue("application/grpc");

        public Task Begun => _begun.Task;

        public TaskCompletionSource GoOn { get; } = new();

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            var bytes = new byte[5 + MessageBytes];
            System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(1), MessageBytes);
            try
            {
                await stream.WriteAsync(bytes.AsMemory(0, bytes.Length - 100_000));
                await stream.FlushAsync();
            }
            finally
            {
                // It may have been refused already, when others came first.
                _begun.SetResult();
            }

            await GoOn.Task;

            // In pieces: a call looks at the budget when it has read one and wants the next.
            for (var at = bytes.Length - 100_000; at < bytes.Length; at += 20_000)
            {
                await stream.WriteAsync(bytes.AsMemory(at, Math.Min(20_000, bytes.Length - at)));
                await stream.FlushAsync();
                await Task.Delay(20);
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
