using Broker.Client;
using Broker.Protocol.V1;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// What clients and operators see when two of three replicas of a shard have lost what they promised, and how the shard
/// goes on from the third.
/// </summary>
public sealed class DamagedMajorityTests : IAsyncDisposable
{
    private const string Topic = "damaged.majority";
    private const int Messages = 20;
    private const int Shard = KilledBrokers.TopicGroup;

    private readonly KilledBrokers _brokers = new();

    public enum Damage
    {
        VoteDeleted,
        EndCutOff,
    }

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _brokers.DisposeAsync();

    // All answered "no leader: retry"; a replica that had lost its log said that there is no such topic, and the others
    // ended reads before their end as if that were all.
    [Theory]
    [InlineData(Damage.VoteDeleted)]
    [InlineData(Damage.EndCutOff)]
    public async Task Shard_says_what_is_wrong_and_goes_on_from_the_intact_replica_by_its_operators_word(Damage damage)
    {
        const int Intact = 3; // not the one that led, which would be elected where its files tell enough
        await _brokers.FormAsync();
        await PublishAsync(0);
        await _brokers.KillAllAsync();
        Hurt(1, damage);
        Hurt(2, damage);
        _brokers.StartAll();

        foreach (var node in new[] { 1, 2, Intact })
        {
            await _brokers.SaysAsync(node, $"Shard {Shard} has lost its quorum");
            await _brokers.SaysAsync(node, $"broker-{Intact} is intact through entry");
            Assert.Equal("Unhealthy", await _brokers.HealthAsync(node));
            AssertIsQuorumLost(await Assert.ThrowsAsync<RpcException>(() => _brokers.PublishOnceAsync(node, Topic)));
            AssertIsQuorumLost(await Assert.ThrowsAsync<RpcException>(() => ReadAsync(node)));
        }

        await using (var client = _brokers.Connect(1, 2, Intact))
        {
            var refusal = await Assert.ThrowsAsync<BrokerClientException>(
                async () => await client.PublishAsync(Topic, KilledBrokers.NumberMessage(0), Test));
            Assert.Equal(BrokerClientErrorCode.QuorumLost, refusal.Code);
            refusal = await Assert.ThrowsAsync<BrokerClientException>(async () =>
            {
                await foreach (var _ in client.ReadAsync(Topic, new ReadOptions { FromOffset = 0 }, Test))
                {
                }
            });
            Assert.Equal(BrokerClientErrorCode.QuorumLost, refusal.Code);
        }

        var wrong = await Assert.ThrowsAsync<BrokerClientException>(() => ForceAsync(1));
        Assert.Equal(BrokerClientErrorCode.FailedPrecondition, wrong.Code);
        var plan = await ForceAsync(Intact);
        Assert.False(plan.Done);
        Assert.Contains("broker-1", plan.Report, StringComparison.Ordinal);
        wrong = await Assert.ThrowsAsync<BrokerClientException>(() => ForceAsync(Intact, "yes"));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, wrong.Code);
        Assert.False(File.Exists(AuditOf(Intact)));

        Assert.True((await ForceAsync(Intact, plan.Confirmation)).Done);

        await _brokers.BecomesHealthyAsync(1, 2, Intact);
        Assert.Contains("anna@ops", await File.ReadAllTextAsync(AuditOf(Intact), Test), StringComparison.Ordinal);
        await _brokers.SaysAsync(Intact, "anna@ops");
        await PublishAsync(Messages);
        await AssertReadsAsync(1, 2 * Messages);
        await AssertReadsAsync(2, 2 * Messages);
        wrong = await Assert.ThrowsAsync<BrokerClientException>(() => ForceAsync(Intact, plan.Confirmation));
        Assert.Contains("leads it", wrong.Message, StringComparison.Ordinal);

        // A learner is well, too; when all are voters again, any two are a majority.
        await _brokers.SaysAsync(1, $"Group {Shard} has the members 1 2 3 at");
        await _brokers.KillAsync(Intact);
        await PublishAsync(2 * Messages);
    }

    // What a leader commits is on its own disk first, so those that do not know what they lost may vote for it.
    [Fact]
    public async Task Intact_leader_is_elected_by_two_whose_logs_were_cut_short()
    {
        await _brokers.FormAsync();
        await PublishAsync(0);
        await _brokers.KillAllAsync();
        Hurt(1, Damage.EndCutOff);
        Hurt(3, Damage.EndCutOff);
        _brokers.StartAll();

        await _brokers.BecomesHealthyAsync(1, 2, 3);
        await AssertReadsAsync(1, Messages);
        await AssertReadsAsync(3, Messages);
        await PublishAsync(Messages);
    }

    [Fact]
    public async Task Broker_that_was_gone_comes_back_and_follows_the_one_that_the_shard_went_on_from()
    {
        await _brokers.FormAsync();
        await PublishAsync(0);
        await _brokers.KillAllAsync();
        Hurt(1, Damage.VoteDeleted);
        _brokers.Start(1);
        _brokers.Start(2);

        // The third may be well: the two wait for it, unless an operator knows better.
        await Eventually.HoldsAsync(
            async () => (await RefusedAsync(2)).Contains("broker-3 does not answer", StringComparison.Ordinal),
            () => "an operator must say that the third broker is gone",
            30);
        var plan = await ForceAsync(2, gone: 3);
        Assert.True((await ForceAsync(2, plan.Confirmation, gone: 3)).Done);
        await PublishAsync(Messages, 1, 2);

        _brokers.Start(3);
        await _brokers.BecomesHealthyAsync(1, 2, 3);
        await AssertReadsAsync(3, 2 * Messages);
        await _brokers.SaysAsync(1, $"Group {Shard} has the members 1 2 3 at");
        await _brokers.KillAsync(2);
        await PublishAsync(2 * Messages);
    }

    private static void AssertIsQuorumLost(RpcException refusal)
    {
        Assert.Equal(StatusCode.FailedPrecondition, refusal.StatusCode);
        Assert.Equal("QUORUM_LOST", ForeignCalls.ReasonOf(refusal));
        Assert.Contains("Admin.ForceRecovery", refusal.Status.Detail, StringComparison.Ordinal);
    }

    private string FolderOf(int node) => Path.Combine(_brokers.FolderOf(node), $"group-{Shard:D4}");

    private string AuditOf(int node) => Path.Combine(FolderOf(node), "recoveries.txt");

    private void Hurt(int node, Damage damage)
    {
        if (damage == Damage.VoteDeleted)
        {
            File.Delete(Path.Combine(FolderOf(node), "vote"));
            return;
        }

        var active = Directory.GetFiles(FolderOf(node), "*.log").Order(StringComparer.Ordinal).Last();
        using var log = File.OpenWrite(active);
        log.SetLength(600);
    }

    private async Task<string> RefusedAsync(int node)
    {
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(() => ForceAsync(node));
        return refusal.Message;
    }

    private async Task<RecoveryReport> ForceAsync(int node, string confirmation = "", params int[] gone)
    {
        await using var client = _brokers.Connect(node);
        return await client.ForceRecoveryAsync(
            _brokers.GrpcOf(node), Shard, node, "anna@ops", confirmation, gone, Test);
    }

    private Task<RecoveryReport> ForceAsync(int node, int gone) => ForceAsync(node, "", gone);

    private async Task ReadAsync(int node)
    {
        using var channel = GrpcChannel.ForAddress(_brokers.GrpcOf(node));
        using var call = new Protocol.V1.Broker.BrokerClient(channel).Read(
            new ReadRequest { Topic = Topic, Offset = 0 }, deadline: DateTime.UtcNow.AddSeconds(10));
        while (await call.ResponseStream.MoveNext(Test))
        {
        }
    }

    private Task PublishAsync(int first, params int[] nodes) =>
        _brokers.PublishNumbersAsync(Topic, first, Messages, nodes);

    private Task AssertReadsAsync(int node, int count) => _brokers.AssertReadsNumbersAsync(node, Topic, count);
}
