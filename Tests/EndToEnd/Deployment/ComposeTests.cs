using System.Diagnostics;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.EndToEnd.Deployment;

/// <summary>What stands in compose.yaml fits together: each name, port, volume and secret is looked up.</summary>
public sealed partial class ComposeTests(PublishedSystem published) : IClassFixture<PublishedSystem>
{
    private static readonly string[] Own = ["broker-1", "broker-2", "broker-3", "publisher", "subscriber"];

    [Fact]
    public void The_whole_system_is_in_it() => Assert.Equal(
        Own.Concat(["cache", "postgres", "postgres-databases", "prometheus"]).Order(), published.Services.Keys.Order());

    [Fact]
    public void Every_address_names_a_service_and_a_port_at_which_it_listens()
    {
        var addresses = published.Services.Values.SelectMany(service => service.Addresses()).ToHashSet();

        Assert.All(addresses, address => Assert.Contains(
            address.Port, published.Services.GetValueOrDefault(address.Host)?.ListensAt ?? new HashSet<string>()));

        // Nothing was overlooked: each is told by somebody.
        Assert.Superset(
            new HashSet<(string, string)>
            {
                ("broker-1", "8081"), ("broker-2", "8081"), ("broker-3", "8081"), ("broker-1", "8080"),
                ("broker-2", "8080"), ("broker-3", "8080"), ("publisher", "8080"), ("subscriber", "8080"),
                ("cache", "6379"), ("postgres", "5432"),
            },
            addresses);
    }

    [Fact]
    public void Every_broker_is_told_of_all_three_and_a_live_feed()
    {
        foreach (var name in Own.Take(3))
        {
            var environment = published.Services[name].Environment;
            Assert.Equal(name, environment["Broker__NodeName"]);
            Assert.All(Enumerable.Range(1, 3), number =>
            {
                Assert.Equal($"http://broker-{number}:8081", environment[$"services__broker-{number}__grpc__0"]);
                Assert.Equal($"http://broker-{number}:8082", environment[$"services__broker-{number}__peer__0"]);
            });
        }

        Assert.All(Own.Where(name => name != "publisher"), name => Assert.StartsWith(
            "cache:6379,password=",
            published.Services[name].Environment["ConnectionStrings__cache"],
            StringComparison.Ordinal));
    }

    [Fact]
    public void Clients_are_told_of_every_broker_and_of_no_port_for_peers() => Assert.All(Own.Skip(3), name =>
    {
        var environment = published.Services[name].Environment;
        Assert.Equal(
            "http://broker-1:8081;http://broker-2:8081;http://broker-3:8081", environment["ConnectionStrings__broker"]);
        Assert.DoesNotContain(environment.Values, value => value.Contains(":8082", StringComparison.Ordinal));
    });

    [Fact]
    public void Ports_of_the_host_lead_to_ports_that_are_listened_at_and_are_open_to_the_host_alone()
    {
        var hostPorts = new List<string>();
        foreach (var (name, service) in published.Services)
        {
            foreach (var port in service.Ports)
            {
                var match = PublishedPort().Match(port);
                Assert.True(match.Success, port);
                Assert.Contains(match.Groups["inside"].Value, service.ListensAt);
                hostPorts.Add(match.Groups["outside"].Value);
            }

            Assert.Equal(name is "cache" or "postgres" or "postgres-databases", service.Ports.Count == 0);
        }

        Assert.Equal(hostPorts.Distinct(), hostPorts);
    }

    [Fact]
    public void What_must_not_be_lost_has_a_volume_of_its_own()
    {
        string[] keepers = ["broker-1", "broker-2", "broker-3", "postgres", "prometheus"];
        var used = keepers.Select(name => Assert.Single(published.Services[name].Volumes).Split(':')).ToList();

        Assert.Equal(keepers.Length, used.Select(volume => volume[0]).Distinct().Count());
        Assert.Equal(published.Volumes.Order(), used.Select(volume => volume[0]).Order());
        Assert.All(Own.Take(3), name => Assert.StartsWith(
            $"{published.Services[name].Volumes[0].Split(':')[1]}/",
            published.Services[name].Environment["Broker__DataDirectory"],
            StringComparison.Ordinal));
        Assert.All(
            published.Services.Where(pair => !keepers.Contains(pair.Key)), pair => Assert.Empty(pair.Value.Volumes));
    }

    [Fact]
    public void Brokers_know_how_many_they_are() => Assert.All(
        Own.Take(3), name => Assert.Equal("3", published.Services[name].Environment["Broker__ClusterSize"]));

    [Fact]
    public void Services_wait_for_what_they_need_and_all_but_the_job_come_back()
    {
        Assert.All(["publisher", "subscriber"], name => Assert.Equal(
            "service_completed_successfully", published.Services[name].DependsOn["postgres-databases"]));
        Assert.Equal("service_healthy", published.Services["postgres-databases"].DependsOn["postgres"]);
        foreach (var (name, service) in published.Services)
        {
            var isJob = name == "postgres-databases";
            Assert.Equal(isJob ? "no" : "unless-stopped", service.Restart);
            Assert.Equal(isJob, service.HealthCheck.Count == 0);
            Assert.All(service.DependsOn.Keys, other => Assert.Contains(other, published.Services.Keys));
        }
    }

    [Fact]
    public void Services_that_listen_beyond_localhost_say_that_they_may()
    {
        foreach (var environment in Own.Select(name => published.Services[name].Environment))
        {
            Assert.Equal("true", environment["AllowInsecure"]);
            Assert.Equal(
                "*", environment.Single(pair => pair.Key.EndsWith("__GrpcHost", StringComparison.Ordinal)).Value);
        }
    }

    [Fact]
    public void No_secret_and_no_folder_of_this_machine_is_in_it()
    {
        var secrets = published.Services.Values.SelectMany(service => service.Environment)
            .Where(pair => pair.Key.EndsWith("PASSWORD", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(secrets);
        Assert.All(secrets, pair => Assert.Matches(@"^\$\{(CACHE|POSTGRES)_PASSWORD:\?[^}]+\}$", pair.Value));
        Assert.All(
            InText().Matches(published.Compose).Select(match => match.Groups["value"].Value),
            value => Assert.StartsWith("${", value, StringComparison.Ordinal));
        foreach (var folder in (string[])[PublishedSystem.Root, Path.GetTempPath(), Environment.GetFolderPath(
            Environment.SpecialFolder.UserProfile)])
        {
            Assert.DoesNotContain(folder.TrimEnd('/'), published.Compose, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Each_variable_without_a_default_waits_in_the_env_file_and_a_second_run_keeps_what_is_there()
    {
        var needed = Needed().Matches(published.Compose).Select(match => match.Groups["name"].Value).ToHashSet();
        Assert.Equal((string[])["CACHE_PASSWORD", "POSTGRES_PASSWORD"], needed.Order());
        var settings = await File.ReadAllTextAsync(published.EnvPath, TestContext.Current.CancellationToken);
        Assert.All(needed, name => Assert.Contains($"\n{name}=\n", settings, StringComparison.Ordinal));
        Assert.All(
            WithDefault().Matches(published.Compose).Select(match => match.Groups["name"].Value).Distinct(),
            name => Assert.Contains($"\n# {name}=", settings, StringComparison.Ordinal));

        var filled = settings.Replace("\nCACHE_PASSWORD=\n", "\nCACHE_PASSWORD=kept\n", StringComparison.Ordinal)
            .Replace("\nPOSTGRES_PASSWORD=\n", "\n", StringComparison.Ordinal);
        await File.WriteAllTextAsync(published.EnvPath, filled, TestContext.Current.CancellationToken);
        await published.WriteComposeAsync();

        var after = await File.ReadAllTextAsync(published.EnvPath, TestContext.Current.CancellationToken);
        Assert.Equal($"{filled}POSTGRES_PASSWORD=\n", after);
        Assert.Equal(
            published.Compose,
            await File.ReadAllTextAsync(published.ComposePath, TestContext.Current.CancellationToken));
        Assert.True(OperatingSystem.IsWindows()
            || File.GetUnixFileMode(published.EnvPath) == (UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Fact]
    public async Task The_line_in_the_env_file_draws_a_secret_for_each_that_is_empty()
    {
        var folder = Directory.CreateTempSubdirectory("broker-env-");
        var settings = Path.Combine(folder.FullName, ".env");
        var text = await File.ReadAllTextAsync(published.EnvPath, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(
            settings,
            $"{text}\nCACHE_PASSWORD=\nPOSTGRES_PASSWORD=\n",
            TestContext.Current.CancellationToken);
        var line = text.Split('\n').Single(line => line.StartsWith("#   for ", StringComparison.Ordinal))[1..];

        var (exitCode, output) = await PublishedSystem.RunAsync(
            new ProcessStartInfo("bash", ["-c", line]) { WorkingDirectory = folder.FullName });

        Assert.True(exitCode == 0, output);
        var drawn = (await File.ReadAllLinesAsync(settings, TestContext.Current.CancellationToken)).TakeLast(2)
            .Select(one => one.Split('=')[1]).ToList();
        Assert.All(drawn, secret => Assert.Matches("^[0-9a-f]{48}$", secret));
        Assert.NotEqual(drawn[0], drawn[1]);
        folder.Delete(recursive: true);
    }

    [Theory]
    [InlineData(200, 0)]
    [InlineData(503, 1)]
    [InlineData(null, 1)]
    public async Task The_health_check_of_our_services_tells_the_answer_of_health(int? status, int exitCode)
    {
        var builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        await using var app = builder.Build();
        app.MapGet("/health", () => Results.StatusCode(status ?? 0));
        await app.StartAsync(TestContext.Current.CancellationToken);
        var port = new Uri(app.Urls.Single()).Port;
        if (status is null)
        {
            await app.StopAsync(TestContext.Current.CancellationToken);
        }

        foreach (var check in Own.Select(name => published.Services[name].HealthCheck))
        {
            Assert.Equal((string[])["CMD", "bash", "-c"], check.Take(3));
            var command = check[3].Replace("$$", "$", StringComparison.Ordinal);
            Assert.Contains("127.0.0.1/8080", command, StringComparison.Ordinal);
            var (code, output) = await PublishedSystem.RunAsync(new ProcessStartInfo(
                "bash", ["-c", command.Replace("127.0.0.1/8080", $"127.0.0.1/{port}", StringComparison.Ordinal)]));
            Assert.True(code == exitCode, $"{code}: {output}");
        }
    }

    [Fact]
    public async Task Images_have_the_names_under_which_they_are_built()
    {
        foreach (var (project, services) in new Dictionary<string, string[]>
        {
            ["Broker"] = ["broker-1", "broker-2", "broker-3"],
            ["Publisher"] = ["publisher"],
            ["Subscriber"] = ["subscriber"],
        })
        {
            var (exitCode, repository) = await PublishedSystem.RunAsync(new ProcessStartInfo(
                "dotnet",
                ["msbuild", Path.Combine(PublishedSystem.Root, project), "-getProperty:ContainerRepository"]));
            Assert.Equal(0, exitCode);
            Assert.All(services, service => Assert.Equal(
                $"${{REGISTRY:-}}{repository.Trim()}:${{IMAGE_TAG:-latest}}", published.Services[service].Image));
        }
    }

    [GeneratedRegex(@"^\$\{HOST_ADDRESS:-127\.0\.0\.1\}:\$\{[A-Z0-9_]+_PORT:-(?<outside>\d+)\}:(?<inside>\d+)$")]
    private static partial Regex PublishedPort();

    [GeneratedRegex(@"[Pp]assword=(?<value>[^;,\s""]+)")]
    private static partial Regex InText();

    [GeneratedRegex(@"(?<!\$)\$\{(?<name>[A-Z0-9_]+)(:\?[^}]*)?\}")]
    private static partial Regex Needed();

    [GeneratedRegex(@"(?<!\$)\$\{(?<name>[A-Z0-9_]+):-[^}]*\}")]
    private static partial Regex WithDefault();
}
