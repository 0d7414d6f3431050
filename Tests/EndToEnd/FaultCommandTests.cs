using System.Diagnostics;
using Aspire.Hosting.ApplicationModel;
using Broker.Client;
using Broker.Tests.Demo;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>The buttons on the dashboard, and the cluster's own state there.</summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class FaultCommandTests(BrokerSystem fixture)
{
    private readonly RunningSystem _system = fixture.System;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>And not a wrapper around it, which would leave it alive.</summary>
    [Theory]
    [InlineData("broker-1", "Broker")]
    [InlineData("publisher", "Publisher")]
    [InlineData("subscriber", "Subscriber")]
    [InlineData("cache", "redis-server")]
    [InlineData("postgres", "postgres")]
    [InlineData("prometheus", "prometheus")]
    public void The_process_of_a_resource_is_the_server_itself(string resource, string program)
    {
        var command = RunningProcess.CommandLineOf(_system.ProcessIdOf(resource)).Split(' ')[0];
        Assert.Equal(program, Path.GetFileName(command));
    }

    [Fact]
    public async Task Kill_ends_a_broker_at_once_and_start_brings_it_back()
    {
        var first = _system.ProcessIdOf("broker-3");
        await ExecuteAsync("broker-3", "kill");
        await _system.App.ResourceNotifications.WaitForResourceAsync(
            "broker-3", KnownResourceStates.TerminalStates, Cancel);
        Assert.False(Directory.Exists($"/proc/{first}"));

        var dead = await _system.App.ResourceCommands.ExecuteCommandAsync("broker-3", "kill", Cancel);
        Assert.False(dead.Success);

        await _system.StartResourceAsync("broker-3", Cancel);
        Assert.NotEqual(first, _system.ProcessIdOf("broker-3"));
    }

    [Fact]
    public async Task A_paused_broker_stands_still_until_it_is_resumed_and_the_others_go_on()
    {
        await ExecuteAsync("broker-2", "pause");
        try
        {
            await UntilStoppedAsync("broker-2");
            await _system.Client.PublishAsync("e2e.paused", new() { Value = "x"u8.ToArray() }, Cancel);
        }
        finally
        {
            await ExecuteAsync("broker-2", "resume");
        }

        Assert.NotEqual("T", StateOf("broker-2"));
        await ExecuteAsync("broker-2", "probe");
    }

    [Fact]
    public async Task A_broker_that_steps_down_gives_the_lead_of_all_its_shards_away()
    {
        var node = await IdOfAsync("broker-1");
        foreach (var shard in (await _system.Client.DescribeClusterAsync(Cancel)).Shards)
        {
            await _system.Client.TransferLeadershipAsync(shard.Shard, node, Cancel);
        }

        await ExecuteAsync("broker-1", "step-down");
        await UntilAsync("broker-1 leads nothing", cluster => cluster.Shards.All(shard => shard.Leader != node));
        await _system.Client.PublishAsync("e2e.stepped-down", new() { Value = "x"u8.ToArray() }, Cancel);
    }

    [Fact]
    public async Task A_drained_broker_leads_nothing_until_it_is_undrained()
    {
        var node = await IdOfAsync("broker-3");
        await ExecuteAsync("broker-3", "drain");
        await UntilAsync(
            "broker-3 drains and leads nothing",
            cluster => cluster.Shards.All(shard => shard.Leader != node)
                && cluster.Nodes.Single(one => one.NodeId == node).Draining);

        await ExecuteAsync("broker-3", "undrain");
        await UntilAsync(
            "broker-3 drains no more", cluster => !cluster.Nodes.Single(one => one.NodeId == node).Draining);
    }

    /// <summary>What waits for the cluster may start also while a node is away.</summary>
    [Fact]
    public async Task The_cluster_is_healthy_as_long_as_a_majority_of_its_nodes_is()
    {
        await ExecuteAsync("broker-3", "kill");
        await _system.App.ResourceNotifications.WaitForResourceAsync(
            "broker-3", KnownResourceStates.TerminalStates, Cancel);
        await _system.App.ResourceNotifications.WaitForResourceHealthyAsync("broker", Cancel);
        var addresses = RunningSystem.Brokers.Select(name => $"{_system.Endpoint(name, "grpc")}".TrimEnd('/'));
        Assert.Equal(string.Join(';', addresses), await _system.ConnectionStringAsync("broker", Cancel));

        await ExecuteAsync("broker-2", "kill");
        await _system.App.ResourceNotifications.WaitForResourceAsync(
            "broker",
            one => one.Snapshot.HealthStatus == HealthStatus.Unhealthy,
            Cancel);
        await Task.WhenAll(
            _system.StartResourceAsync("broker-2", Cancel), _system.StartResourceAsync("broker-3", Cancel));
        await _system.App.ResourceNotifications.WaitForResourceHealthyAsync("broker", Cancel);
    }

    private async Task<int> IdOfAsync(string broker) =>
        (await _system.Client.DescribeClusterAsync(Cancel)).Nodes.Single(one => one.Name == broker).NodeId;

    /// <summary>A node may hear a moment later than the others who leads.</summary>
    private async Task UntilAsync(string what, Func<ClusterInfo, bool> holds)
    {
        for (var watch = Stopwatch.StartNew(); !holds(await _system.Client.DescribeClusterAsync(Cancel));)
        {
            Assert.True(watch.Elapsed < TimeSpan.FromMinutes(1), $"Within a minute it was not so that {what}.");
            await Task.Delay(TimeSpan.FromMilliseconds(50), Cancel);
        }
    }

    private async Task ExecuteAsync(string resource, string command)
    {
        var result = await _system.App.ResourceCommands.ExecuteCommandAsync(resource, command, Cancel);
        Assert.True(result.Success, $"{command}: {result.Message}");
    }

    /// <summary>A thread that runs stops when it next enters the kernel, not at the moment of the signal.</summary>
    private async Task UntilStoppedAsync(string resource)
    {
        for (var tries = 0; StateOf(resource) != "T"; tries++)
        {
            Assert.True(tries < 500, $"{resource} is paused, and after five seconds it is {StateOf(resource)}, not T");
            await Task.Delay(10, Cancel);
        }
    }

    /// <summary>"State:  T (stopped)" is T.</summary>
    private string StateOf(string resource) => File.ReadLines($"/proc/{_system.ProcessIdOf(resource)}/status")
        .First(line => line.StartsWith("State:", StringComparison.Ordinal)).Split('\t', '(')[1].Trim();
}
