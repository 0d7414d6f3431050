using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Broker.Client;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>A client in another language needs nothing but our .proto files.</summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class PythonClientTests(BrokerSystem fixture)
{
    private const int Messages = 20;

    [Fact]
    public async Task A_Python_client_publishes_to_a_follower_and_reads_back_from_another_node()
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        const string Topic = "e2e.python";
        var first = await fixture.System.Client.PublishAsync(
            Topic, new() { Value = "0"u8.ToArray() }, timeout.Token);
        Assert.Equal(0, first.Offset);
        var cluster = await fixture.System.Client.DescribeClusterAsync(timeout.Token);
        var topic = await ListedAsync(Topic, timeout.Token);
        var leader = cluster.Shards.First(shard => shard.Shard == topic.Shard).Leader;
        var followers = cluster.Nodes.Where(node => node.NodeId != leader).ToList();

        using var answer = await RunPythonAsync(
            Topic, followers[0].Name, followers[1].Name, timeout.Token);

        Assert.Equal(Enumerable.Range(1, Messages), answer.RootElement.GetProperty("offsets").EnumerateArray().Select(
            o => o.GetInt32()));
        Assert.True(answer.RootElement.GetProperty("duplicate").GetBoolean());
        Assert.Equal(Messages, answer.RootElement.GetProperty("duplicate_offset").GetInt64());
        Assert.Equal("INVALID_ARGUMENT", answer.RootElement.GetProperty("refused").GetString());
        var read = answer.RootElement.GetProperty("read").EnumerateArray().ToList();
        Assert.Equal(Messages, read.Count);
        for (var i = 0; i < Messages; i++)
        {
            Assert.Equal($"[{i + 1}, \"key-{i}\", \"value-{i}\", \"number\"]", read[i].GetRawText());
        }
    }

    /// <summary>The topic, once the node that answers has applied that it is there.</summary>
    private async Task<TopicInfo> ListedAsync(string topic, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (await fixture.System.Client.ListTopicsAsync(topic, cancellationToken) is [var listed])
            {
                return listed;
            }

            await Task.Delay(20, cancellationToken);
        }
    }

    private async Task<JsonDocument> RunPythonAsync(
        string topic, string publishTo, string readFrom, CancellationToken cancellationToken)
    {
        var stubs = Directory.CreateTempSubdirectory("broker-python-");
        try
        {
            // Debian's own interpreter: another one on the PATH would not see Debian's python3-grpcio.
            var start = new ProcessStartInfo("/usr/bin/python3")
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            foreach (var argument in (string[])[
                Path.Combine(Here(), "python_client.py"),
                Path.Combine(Here(), "../../Protos"),
                stubs.FullName,
                AddressOf(publishTo),
                AddressOf(readFrom),
                topic,
                $"{Messages}"])
            {
                start.ArgumentList.Add(argument);
            }

            using var python = Process.Start(start)!;
            var output = python.StandardOutput.ReadToEndAsync(cancellationToken);
            var errors = python.StandardError.ReadToEndAsync(cancellationToken);
            await python.WaitForExitAsync(cancellationToken);
            Assert.True(python.ExitCode == 0, await errors);
            return JsonDocument.Parse(await output);
        }
        finally
        {
            stubs.Delete(recursive: true);
        }
    }

    private string AddressOf(string broker) => fixture.System.Endpoint(broker, "grpc").Authority;

    private static string Here([CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;
}
