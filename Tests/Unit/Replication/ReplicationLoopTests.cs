using System.Collections.Concurrent;
using Broker.Client;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Cluster;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>The threads on which groups are pumped, in a node with a log writer and a disk of its own.</summary>
public sealed class ReplicationLoopTests : IAsyncLifetime
{
    private const string Topic = "orders";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly byte[] Batch = RecordBatchEncoder.Encode([new BrokerMessage { Value = new byte[8] }]);

    private readonly ConcurrentQueue<Exception> _failures = new();
    private LoneNode _lone = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private ReplicaGroup Group => _lone.Node.Group(new GroupId(1));

    public async ValueTask InitializeAsync()
    {
        _lone = new LoneNode(_failures.Enqueue);
        _lone.Node.Start();
        await _lone.Node.WaitForLeaderAsync(new GroupId(1), Stop).WaitAsync(Patience, Stop);
    }

    public ValueTask DisposeAsync() => _lone.DisposeAsync();

    [Fact]
    public async Task While_nothing_else_goes_on_the_thread_that_gives_a_batch_pumps_it_and_makes_one_entry_of_it()
    {
        var pumpedHere = 0;
        for (var round = 0; round < 20; round++)
        {
            await Task.Delay(20, Stop); // the loop has gone to sleep
            TestProposal[] batch = [new(), new(), new()];
            var last = Group.Status.LastIndex;
            Give(batch);
            pumpedHere += Array.TrueForAll(batch, each => each.Thread == Environment.CurrentManagedThreadId)
                && Group.Status.LastIndex == last.Next() ? 1 : 0;
            await Task.WhenAll(batch.Select(each => each.Done)).WaitAsync(Patience, Stop);
        }

        // Now and then a heartbeat or upkeep is just due, and the loop awake.
        Assert.InRange(pumpedHere, 10, 20);
        Assert.Empty(_failures);
    }

    [Fact]
    public async Task However_many_threads_give_input_one_pumps_at_a_time_and_nothing_is_left_behind()
    {
        const int threads = 8;
        const int batches = 300;
        await Task.WhenAll(Enumerable.Range(0, threads).Select(number => Task.Run(
            async () =>
            {
                for (var i = 0; i < batches; i++)
                {
                    TestProposal[] batch = [.. Enumerable.Range(0, 1 + (i % 3)).Select(static _ => new TestProposal())];
                    if (number % 2 == 0)
                    {
                        Give(batch);
                    }
                    else
                    {
                        Array.ForEach(batch, Group.Propose);
                    }

                    await Task.WhenAll(batch.Select(each => each.Done)).WaitAsync(Patience, Stop);
                }
            },
            Stop)));

        Assert.Equal(0, TestProposal.Overlaps);
        Assert.True(_lone.Node.TopicsOf(new GroupId(1)).TryGetTopic(Topic, out var topic));
        Assert.Equal(threads * batches * 2, topic.NextOffset);
        Assert.Empty(_failures);
    }

    [Fact]
    public async Task After_its_end_nobody_pumps()
    {
        await Task.Delay(20, Stop);
        var last = Group.Status.LastIndex;
        await _lone.Node.DisposeAsync();

        var late = new TestProposal();
        Give([late]);

        Assert.Equal((0, last), (late.Thread, Group.Status.LastIndex));
        Assert.Empty(_failures);
    }

    private void Give(TestProposal[] proposals)
    {
        using var batch = InputBatch.Begin();
        Array.ForEach(proposals, Group.Propose);
    }

    private sealed class TestProposal : Proposal
    {
        private static int _pumping;
        private static int _overlaps;

        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public static int Overlaps => _overlaps;

        /// <summary>Who has encoded it.</summary>
        public int Thread { get; private set; }

        public Task Done => _done.Task;

        public override int SizeBytes => TopicCommands.PublishSizeBytes(Topic, Batch.Length);

        public override void Encode(Span<byte> destination)
        {
            if (Interlocked.Exchange(ref _pumping, 1) == 1)
            {
                Interlocked.Increment(ref _overlaps);
            }

            TopicCommands.WritePublish(destination, Topic, PublishStamp.None, 1, Batch);
            Thread = Environment.CurrentManagedThreadId;
            Volatile.Write(ref _pumping, 0);
        }

        public override void Complete(in CommandResult result) => _done.TrySetResult();

        public override void Fail(BrokerException refusal) => _done.TrySetException(refusal);
    }
}
