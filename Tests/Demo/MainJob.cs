using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Demo;

/// <summary>
/// The main job: every record goes through the publisher, the brokers and the subscriber, while leaders and Redis are
/// killed; at the end each must be in the subscriber's inbox exactly once, in offset order. Used by ./run --demo and by
/// the end-to-end tests.
/// </summary>
public sealed class MainJob(ISystem system, BrokerClient brokers, MainJobOptions options, Action<string> say)
{
    public async Task<MainJobReport> RunAsync(IReadOnlyList<PackageRecord> records, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        var databases = new Databases(
            await system.ConnectionStringAsync("outbox", cancellationToken),
            await system.ConnectionStringAsync("inbox", cancellationToken));
        var before = await databases.TakeBaselineAsync(cancellationToken);
        var sender = new Sender(system.Endpoint("publisher", "grpc"), options);
        var vandal = new Vandal(system, brokers, options, say);

        say($"publishing {records.Count:N0} records");
        var vandalism = vandal.RunAsync(() => (double)sender.Committed / records.Count, cancellationToken);
        await sender.SendAsync(records, cancellationToken);
        var silence = sender.LongestSilence;
        say($"published; {sender.Committed:N0} acknowledged");
        await vandalism;

        var arrived = await WaitForInboxAsync(databases, before, sender.Committed, cancellationToken);
        var elapsed = Stopwatch.GetElapsedTime(started);
        var verdict = await databases.VerifyAsync(before, records, cancellationToken);
        return new MainJobReport
        {
            Sent = records.Count,
            Stored = await databases.CountOutboxAsync(before, cancellationToken),
            Committed = sender.Committed,
            Delivered = arrived,
            Duplicates = verdict.Duplicates,
            Gaps = verdict.Gaps,
            Unexpected = verdict.Unexpected,
            Refusals = sender.Refusals,
            LongestSilence = silence,
            Elapsed = elapsed,
            Events = vandal.Events,
        };
    }

    private async Task<long> WaitForInboxAsync(
        Databases databases, Baseline before, int expected, CancellationToken cancellationToken)
    {
        long arrived = 0;
        var lastProgress = Stopwatch.GetTimestamp();
        while (true)
        {
            var now = await databases.CountInboxAsync(before, cancellationToken);
            if (now > arrived)
            {
                (arrived, lastProgress) = (now, Stopwatch.GetTimestamp());
            }

            if (arrived >= expected || Stopwatch.GetElapsedTime(lastProgress) > options.Patience)
            {
                say($"{arrived:N0} of {expected:N0} in the inbox");
                return arrived;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
        }
    }
}
