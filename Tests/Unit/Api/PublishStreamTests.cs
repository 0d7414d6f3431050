using Broker.Api;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Api;

/// <summary>The stream of publishes of a whole broker, which is a cluster of one.</summary>
public sealed class PublishStreamTests : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-stream-");
    private WebApplication _broker = null!;
    private GrpcChannel _channel = null!;
    private AsyncDuplexStreamingCall<PublishStreamRequest, PublishStreamResponse> _call = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _broker = BrokerHost.Build([
            "--urls=http://127.0.0.1:0", "--Broker:GrpcPort=0", "--Broker:NodeName=solo",
            $"--Broker:DataDirectory={_folder.FullName}", "--Logging:LogLevel:Default=None",
        ]);
        await _broker.StartAsync(Stop);
        var addresses = _broker.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!;
        _channel = GrpcChannel.ForAddress(addresses.Addresses.Last());
        _call = new Protocol.V1.Broker.BrokerClient(_channel).PublishStream(cancellationToken: Stop);
    }

    public async ValueTask DisposeAsync()
    {
        _call.Dispose();
        _channel.Dispose();
        await _broker.StopAsync(CancellationToken.None);
        await _broker.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Publishes_of_one_message_are_answered_each_by_its_correlation_and_those_of_a_topic_in_order()
    {
        var message = new PublishStreamRequest();
        message.Publishes.AddRange(Enumerable.Range(0, 300).Select(i => Publish((ulong)i, $"t{i % 3}")));
        message.Publishes.Add(Publish(300, "not a topic"));
        message.Publishes.Add(new StreamedPublish { Correlation = 301 });

        await _call.RequestStream.WriteAsync(message, Stop);
        await _call.RequestStream.CompleteAsync();
        var (results, messages) = await ReadAsync();

        Assert.Equal(302, results.Count);
        var stored = results.Where(result => result.Status == 0).ToList();
        for (var topic = 0; topic < 3; topic++)
        {
            var own = stored.Where(result => result.Correlation % 3 == (ulong)topic).ToList();
            Assert.Equal(Enumerable.Range(0, 100), own.Select(result => (int)result.Response.BaseOffset));
            Assert.Equal(own.Select(result => result.Correlation).Order(), own.Select(result => result.Correlation));
        }

        Assert.Equal(
            [(300UL, (uint)StatusCode.InvalidArgument), (301UL, (uint)StatusCode.InvalidArgument)],
            results.Where(result => result.Status != 0).Select(result => (result.Correlation, result.Status)).Order());

        // They were stored in a few entries, so they are answered in a few messages.
        Assert.InRange(messages, 1, 150);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(Limits.PublishesPerMessage + 1)]
    public async Task A_message_with_no_publish_or_with_too_many_ends_the_stream(int count)
    {
        var message = new PublishStreamRequest();
        message.Publishes.AddRange(Enumerable.Range(0, count).Select(i => Publish((ulong)i, "t")));

        await _call.RequestStream.WriteAsync(message, Stop);

        var refusal = await EchoServer.FailureAsync(ReadAsync());
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
        Assert.Contains("1 to 1,024 publishes", refusal.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_full_message_is_taken()
    {
        var message = new PublishStreamRequest();
        message.Publishes.AddRange(
            Enumerable.Range(0, Limits.PublishesPerMessage).Select(i => Publish((ulong)i, "t", sizeBytes: 4_000)));

        for (var round = 0; round < 3; round++)
        {
            await _call.RequestStream.WriteAsync(message, Stop);
        }

        await _call.RequestStream.CompleteAsync();
        var (results, _) = await ReadAsync();
        Assert.Equal(3 * Limits.PublishesPerMessage, results.Count(static result => result.Status == 0));
    }

    [Fact]
    public async Task A_broker_that_stops_ends_the_stream_with_UNAVAILABLE()
    {
        await _call.RequestStream.WriteAsync(new PublishStreamRequest { Publishes = { Publish(1, "t") } }, Stop);
        Assert.True(await _call.ResponseStream.MoveNext(Stop).WaitAsync(EchoServer.Patience, Stop));

        var stopping = _broker.StopAsync(Stop);

        var refusal = await EchoServer.FailureAsync(_call.ResponseStream.MoveNext(Stop));

        // The end of the connection may overtake the status in HttpClient while the request is still open: then a
        // client sees a broken call, which it takes for the same.
        Assert.True(
            refusal is { StatusCode: StatusCode.Internal, Status.DebugException: HttpProtocolException }
                || (refusal.StatusCode, refusal.Status.Detail)
                    == (StatusCode.Unavailable, "This node stops. Go on at another one."),
            refusal.Status.ToString());
        await stopping.WaitAsync(EchoServer.Patience, Stop);
    }

    private static StreamedPublish Publish(ulong correlation, string topic, int sizeBytes = 10) => new()
    {
        Correlation = correlation,
        Publish = new PublishRequest
        {
            Topic = topic,
            Batch = new RecordBatch { Records = { new Record { Value = ByteString.CopyFrom(new byte[sizeBytes]) } } },
        },
    };

    private async Task<(List<PublishResult> Results, int Messages)> ReadAsync()
    {
        var (results, messages) = (new List<PublishResult>(), 0);
        while (await _call.ResponseStream.MoveNext(Stop).WaitAsync(EchoServer.Patience, Stop))
        {
            results.AddRange(_call.ResponseStream.Current.Results);
            messages++;
        }

        return (results, messages);
    }
}
