using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Publisher.Protocol.V1;
using PublisherClient = Publisher.Protocol.V1.Publisher.PublisherClient;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Demo;

/// <summary>
/// Sends records through the publisher's stream and keeps count of what is acknowledged, and of the silences in
/// between.
/// </summary>
internal sealed class Sender(Uri publisher, MainJobOptions options)
{
    private readonly ConcurrentQueue<string> _refusals = new();
    private int _committed;
    private long _lastAnswer;

    public int Committed => Volatile.Read(ref _committed);

    public IReadOnlyList<string> Refusals => [.. _refusals];

    public TimeSpan LongestSilence { get; private set; }

    public async Task SendAsync(IReadOnlyList<PackageRecord> records, CancellationToken cancellationToken)
    {
        using var channel = GrpcChannel.ForAddress(publisher);
        using var window = new SemaphoreSlim(options.Window);
        using var stream = new PublisherClient(channel).PublishStream(cancellationToken: cancellationToken);
        _lastAnswer = Stopwatch.GetTimestamp();
        var reading = ReadAsync(stream.ResponseStream, window, cancellationToken);
        var started = Stopwatch.GetTimestamp();
        for (var i = 0; i < records.Count; i++)
        {
            await PaceAsync(i, started, cancellationToken);
            await window.WaitAsync(cancellationToken);
            await stream.RequestStream.WriteAsync(ToRequest((ulong)i, records[i]), cancellationToken);
        }

        await stream.RequestStream.CompleteAsync();
        await reading;
    }

    private static PublishStreamRequest ToRequest(ulong correlation, PackageRecord record) => new()
    {
        Correlation = correlation,
        Message = new PublishRequest
        {
            Topic = record.Topic,
            WaitFor = WaitFor.Committed,
            Record = new Record
            {
                Key = ByteString.CopyFromUtf8(record.Package),
                Value = ByteString.CopyFrom(record.Text, Encoding.UTF8),
            },
        },
    };

    private async Task ReadAsync(
        IAsyncStreamReader<PublishStreamResponse> answers, SemaphoreSlim window, CancellationToken cancellationToken)
    {
        while (await answers.MoveNext(cancellationToken))
        {
            var answer = answers.Current;
            var now = Stopwatch.GetTimestamp();
            var silence = Stopwatch.GetElapsedTime(_lastAnswer, now);
            _lastAnswer = now;
            LongestSilence = silence > LongestSilence ? silence : LongestSilence;
            if (answer.Status == 0 && answer.Response.Committed)
            {
                Interlocked.Increment(ref _committed);
            }
            else
            {
                _refusals.Enqueue(
                    $"record {answer.Correlation} was refused: {(StatusCode)answer.Status} {answer.Error}");
            }

            window.Release();
        }
    }

    private async Task PaceAsync(int sent, long started, CancellationToken cancellationToken)
    {
        if (options.Rate == 0)
        {
            return;
        }

        var due = TimeSpan.FromSeconds((double)sent / options.Rate) - Stopwatch.GetElapsedTime(started);
        if (due > TimeSpan.FromMilliseconds(5))
        {
            await Task.Delay(due, cancellationToken);
        }
    }
}
